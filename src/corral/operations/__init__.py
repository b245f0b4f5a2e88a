"""How the server is run: health and readiness, a drain at its end, reloading, and what systemd wants to know."""
