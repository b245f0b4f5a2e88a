"""The usage ledger: how much was used, by day, API key, model and API."""
