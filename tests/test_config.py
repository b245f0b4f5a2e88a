"""Settings from the environment, and their page."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.config import HostAddress, Settings, format_settings_markdown
from corral.errors import CorralError

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":1234", "http://:1234"),
        ("http://x", "http://x:80"),
        ("https://x", "https://x:443"),
        ("https://x:99/p", "https://x:99/p"),
        ("[::1]:80", "http://[::1]:80"),
        ("::1", "http://[::1]:11434"),
        ("ollama.com", "https://ollama.com:443"),
        ("0.0.0.0:abc", "http://0.0.0.0:11434"),
        (' "example.com:5000" ', "http://example.com:5000"),
    ],
)
def test_host_forms(text: str, url: str) -> None:
    """Every form of OLLAMA_HOST."""
    assert HostAddress.parse(text).url() == url


def test_values_and_fallbacks() -> None:
    """Values are typed; what cannot be read falls back and is told."""
    settings = Settings.from_env(
        {
            "OLLAMA_KEEP_ALIVE": "-1",
            "OLLAMA_MAX_QUEUE": "many",
            "OLLAMA_NUM_PARALLEL": "3",
            "OLLAMA_NOPRUNE": "yes",
            "OLLAMA_LOAD_TIMEOUT": "90",
            "OLLAMA_MODELS": "'/models'",
            "OLLAMA_VULKAN": "1",
            "OLLAMA_EDITOR": "vi",
        }
    )
    assert settings.keep_alive_ns > 2**62
    assert (settings.max_queue, settings.num_parallel, settings.no_prune) == (512, 3, True)
    assert settings.load_timeout_ns == 90 * 10**9
    assert settings.models_dir == Path("/models")
    queue, vulkan = settings.warnings
    assert "OLLAMA_MAX_QUEUE" in queue
    assert "OLLAMA_VULKAN is not a setting" in vulkan


@pytest.mark.parametrize(("origins", "text"), [("example.com", "bad origin"), ("http://*.*", "only one")])
def test_origins_that_can_never_match(origins: str, text: str) -> None:
    """A mistake in the origins stops the start instead of refusing every page."""
    with pytest.raises(CorralError, match=text):
        Settings.from_env({"OLLAMA_ORIGINS": origins})


def test_the_page_is_made_of_the_table() -> None:
    """docs/configuration.md lists every setting, in the words of the table."""
    assert (DOCS / "configuration.md").read_text() == format_settings_markdown()
