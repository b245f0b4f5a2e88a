"""Routes for those who run the server: what it decided, and what it does."""
