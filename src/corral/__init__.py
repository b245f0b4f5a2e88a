"""Corral: run language models on your own machine."""

__version__ = "0.1.0"

# The version of Ollama whose API the server speaks. Clients ask for it: editors and agents want a minimum.
API_VERSION = "0.40.2"
