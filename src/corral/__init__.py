"""Corral: run language models on your own machine."""

__version__ = "0.1.0"

# The version of Ollama whose API the server implements. Clients check it: some require a minimum.
API_VERSION = "0.40.2"
