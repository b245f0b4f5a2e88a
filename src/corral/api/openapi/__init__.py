"""The description of all routes that the server publishes at `/openapi.json`, made from `table.py`."""
