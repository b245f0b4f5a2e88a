"""API keys: what they are, where they are kept, and what their use is bounded by ([security](docs/security.md))."""
