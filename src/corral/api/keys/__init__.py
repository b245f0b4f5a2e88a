"""`/api/keys`: API keys over HTTP."""
