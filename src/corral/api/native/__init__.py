"""Ollama's own API under `/api`."""
