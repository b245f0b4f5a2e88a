"""Health and readiness, for load balancers and whoever watches the server."""
