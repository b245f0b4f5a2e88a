"""Settings from the environment, and their page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corral.config import Settings
from corral.errors import CorralError
from corral.hostaddress import HostAddress
from corral.settingstable import SETTINGS
from scripts.cli_reference import CONFIGURATION, configuration_page


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
        ("0.0.0.0:", "http://0.0.0.0:11434"),
        ("tcp://0.0.0.0:99", "http://0.0.0.0:99"),
        (' "example.com:5000" ', "http://example.com:5000"),
    ],
)
def test_host_forms(text: str, url: str) -> None:
    """Every form of OLLAMA_HOST."""
    assert HostAddress.parse(text).url() == url


@pytest.mark.parametrize(
    "text",
    [
        ":99999",
        ":80x",
        ":-1",
        "0.0.0.0:abc",
        "unix://run/x.sock",
        "ftp://x",
        "/x.sock",
        "http://",
        "http:///x",
        "1.2.3.4:5:6",
        "[::1",
        "[::1]x",
        "[1.2.3.4]",
        "a b",
        "user@host",
        "host?x",
    ],
)
def test_hosts_that_are_none(text: str) -> None:
    """An error instead of a server on a port that nobody asked for."""
    with pytest.raises(CorralError, match="OLLAMA_HOST"):
        Settings.from_env({"OLLAMA_HOST": text})


@pytest.mark.parametrize(
    ("name", "text", "warning"),
    [
        ("OLLAMA_NOPRUNE", "no", "'no' is read as true; write 0 for false"),
        ("OLLAMA_FLASH_ATTENTION", "off", "'off' is read as true"),
        ("OLLAMA_KV_CACHE_TYPE", "q9", "is invalid, using f16"),
        ("OLLAMA_KEEP_ALIVE", "soon", "is invalid, using 5m"),
        ("OLLAMA_NUM_PARALLEL", "-2", "is invalid, using 0"),
        ("OLLAMA_CONTEXT_LENGTH", "4k", "is invalid, using 0"),
        ("CORRAL_LOCAL_FILES", "maybe", "is invalid, using link"),
        ("CORRAL_REGISTRY", "yes", "is invalid, using off"),
        ("CORRAL_SPECULATION", "ngram", "is invalid, using auto"),
        ("OLLAMA_NUM_PARALEL", "2", "did you mean OLLAMA_NUM_PARALLEL?"),
        ("OLLAMA_HOST", "https://x", "the server speaks plain HTTP"),
    ],
)
def test_every_wrong_value_is_told(name: str, text: str, warning: str) -> None:
    """With what is used instead."""
    (found,) = Settings.from_env({name: text}).warnings
    assert name in found and warning in found


@pytest.mark.parametrize("text", ["1", "true", "T", "yes", "on"])
def test_usual_words_for_yes_are_no_mistake(text: str) -> None:
    settings = Settings.from_env({"OLLAMA_NOPRUNE": text})
    assert settings.no_prune and not settings.warnings


@pytest.mark.parametrize(
    ("text", "value"),
    [("auto", None), ("AUTO", None), ("on", True), ("1", True), ("Off", False), ("0", False)],
)
def test_words_for_speculation(text: str, value: bool | None) -> None:
    settings = Settings.from_env({"CORRAL_SPECULATION": text})
    assert settings.speculation is value and not settings.warnings


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
            "OLLAMA_VULCAN": "1",
            "OLLAMA_EDITOR": "vi",
            "CORRAL_PRELOAD": "llama3.2, nomic-embed-text",
            "CORRAL_SPARE_ENGINE": "0",
        }
    )
    assert settings.preload == ("llama3.2", "nomic-embed-text")
    assert (settings.keeps_spare, Settings().keeps_spare) == (False, None)
    assert settings.keep_alive_ns > 2**62
    assert (settings.max_queue, settings.num_parallel, settings.no_prune) == (512, 3, True)
    assert settings.load_timeout_ns == 90 * 10**9
    assert settings.models_dir == Path("/models")
    queue, vulkan = settings.warnings
    assert "OLLAMA_MAX_QUEUE" in queue
    assert "OLLAMA_VULCAN is not a known setting" in vulkan


@pytest.mark.parametrize(("origins", "text"), [("example.com", "bad origin"), ("http://*.*", "only one")])
def test_origins_that_can_never_match(origins: str, text: str) -> None:
    """A mistake in the origins stops the start instead of refusing every page."""
    with pytest.raises(CorralError, match=text):
        Settings.from_env({"OLLAMA_ORIGINS": origins})


def test_the_page_is_made_of_the_table() -> None:
    """docs/configuration.md lists every setting, in the words of the table."""
    assert CONFIGURATION.read_text() == configuration_page()


def test_every_setting_has_a_place_in_the_configuration_file() -> None:
    """`section.key`, each once, and no section is also a key."""
    places = [setting.path for setting in SETTINGS]
    assert [place for place in places if not re.fullmatch(r"[a-z_]+\.[a-z_0-9]+", place)] == []
    assert len(set(places)) == len(places)
