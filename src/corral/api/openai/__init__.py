"""The OpenAI-compatible surface under `/v1`: wire types, conversion to and from the service's values, routes."""
