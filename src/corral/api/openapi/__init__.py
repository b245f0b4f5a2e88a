"""The description of all routes at `/openapi.json`, made from their tables."""
