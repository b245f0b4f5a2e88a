"""Packages that people talk to the server with."""

from tests.extras import need

need(
    "aiohttp",
    "anthropic",
    "httpx",
    "langchain_ollama",
    "langchain_openai",
    "litellm",
    "llm",
    "ollama",
    "openai",
)
need("pydantic", "pydantic_ai")
