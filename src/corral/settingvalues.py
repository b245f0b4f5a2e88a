"""Parsers for the values of settings. Each takes the text of a variable and raises `UnreadableError`."""

from __future__ import annotations

import re
from typing import NoReturn

from corral.errors import CorralError, InvalidRequestError
from corral.golang.time import FOREVER_NS, parse_duration_ns
from corral.priorities import Priority, is_priority
from corral.rate import parse_rate
from corral.types import DEVICE_POLICIES

_SECOND_NS = 1_000_000_000
TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")
_KV_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")

_ORIGIN_SCHEMES = (
    "http://",
    "https://",
    "chrome-extension://",
    "safari-extension://",
    "moz-extension://",
    "ms-browser-extension://",
)


class UnreadableError(Exception):
    """The value of a setting cannot be parsed; the default is used."""


def number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UnreadableError
    return int(text)


def times(text: str) -> int:
    if (found := number(text)) < 1:
        raise UnreadableError
    return found


def maybe_number(text: str) -> int | None:
    """None for `auto`."""
    return None if text.lower() == "auto" else number(text)


def boolean(text: str) -> bool:
    # Any other non-empty text is true, as in Ollama; the reader of the settings warns about it.
    return text not in FALSE


def maybe_boolean(text: str) -> bool | None:
    """None for `auto`."""
    return boolean(text) if text and text != "auto" else None


def on_off(text: str) -> bool:
    return text.lower() not in (*FALSE, "off", "disabled")


def auto_on_off(text: str) -> bool | None:
    """None for `auto`."""
    words = {"auto": None, **dict.fromkeys((*TRUE, "on"), True), **dict.fromkeys((*FALSE, "off"), False)}
    if text.lower() not in words:
        raise UnreadableError
    return words[text.lower()]


def duration(text: str) -> int:
    """Nanoseconds from a duration or from whole seconds."""
    try:
        return parse_duration_ns(text)
    except InvalidRequestError:
        try:
            return int(text) * _SECOND_NS
        except ValueError:
            raise UnreadableError from None


def keep_alive(text: str) -> int:
    value_ns = duration(text)
    return FOREVER_NS if value_ns < 0 else value_ns


def log_format(text: str) -> str:
    if text.lower() not in ("text", "json"):
        raise UnreadableError
    return text.lower()


def file_mode(text: str) -> int:
    """Permissions, in octal."""
    if not text or len(text) > 4 or set(text) - set("01234567"):
        raise UnreadableError
    return int(text, 8)


def registry_mode(text: str) -> str:
    if text.lower() not in ("off", "pull", "push"):
        raise UnreadableError
    return text.lower()


def priority(text: str) -> Priority:
    """Raises UnreadableError."""
    name = text.lower()
    if not is_priority(name):
        raise UnreadableError
    return name


def auth_mode(text: str) -> str:
    """`off` and `on` also as 0 and 1.

    Raises:
        CorralError: another text. A server whose doors are meant to be shut does not start with a default.
    """
    named = {**dict.fromkeys(FALSE, "off"), **dict.fromkeys(TRUE, "on")}
    mode = named.get(text, text.lower())
    if mode not in ("off", "remote", "on"):
        raise CorralError(f"CORRAL_AUTH={text!r} is none of off, remote and on", hint="correct CORRAL_AUTH")
    return mode


# What a word in CORRAL_SURFACES_OFF switches off, by the names of the tables of routes.
_SURFACES = {
    "openai": ("openai",),
    "responses": ("responses",),
    "anthropic": ("anthropic",),
    "systemone": ("systemone",),
    "v1": ("openai", "responses", "anthropic", "systemone"),
    "registry": ("registry",),
    "v2": ("registry",),
    "docs": ("description", "page"),
    "keys": ("keys",),
    "ui": ("ui",),
}


def surfaces(text: str) -> frozenset[str]:
    """Names of tables of routes.

    Raises:
        CorralError: a word that is none. What is meant to be off must not stay on because of a slip.
    """
    words = [word.strip("/").lower() for word in entries(text)]
    if unknown := sorted(set(words) - set(_SURFACES)):
        raise CorralError(
            f"CORRAL_SURFACES_OFF: there is no API {unknown[0]!r}",
            hint=f"name some of {', '.join(_SURFACES)}",
        )
    return frozenset(name for word in words for name in _SURFACES[word])


_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::\d{1,5})?", re.ASCII)


def origins(text: str) -> tuple[str, ...]:
    """Origins as they go into a header of the web page.

    Raises:
        CorralError: an entry is not one. What the page may reach must not become more because of a slip.
    """
    found = tuple(entry.lower().rstrip("/") for entry in entries(text))
    for entry in found:
        if not _ORIGIN.fullmatch(entry):
            raise CorralError(
                f"CORRAL_UI_TOOL_ORIGINS: {entry[:100]!r} is not an origin",
                hint="write the scheme, the host and the port, as in https://tools.lan:8443",
            )
    return found


def device_policy(text: str) -> str:
    if text.lower() not in DEVICE_POLICIES:
        raise UnreadableError
    return text.lower()


def kv_cache_type(text: str) -> str:
    if text.lower() not in _KV_CACHE_TYPES:
        raise UnreadableError
    return text.lower()


def rate(text: str) -> int:
    """Bytes per second."""
    try:
        return parse_rate(text)
    except InvalidRequestError:
        raise UnreadableError from None


def entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def local_files(text: str) -> str:
    if text in ("link", "copy", "off"):
        return text
    if text in FALSE:
        return "off"
    raise UnreadableError


def log_level(text: str) -> str:
    if text in TRUE:
        return "DEBUG"
    if text in FALSE or not text.lstrip("-").isdigit():
        return "INFO" if text in FALSE else "DEBUG"
    return "DEBUG" if int(text) > 0 else "WARNING"


def check_origins(origins: tuple[str, ...]) -> None:
    """Raise CorralError for an origin that could never match."""
    for origin in origins:
        if "*" not in origin and not origin.startswith(_ORIGIN_SCHEMES):
            _refuse(
                "bad origin: origins must contain '*' or include "
                + "http://,https://,chrome-extension://,safari-extension://,moz-extension://,"
                + "ms-browser-extension://"
            )
        if origin.count("*") > 1:
            _refuse("only one * is allowed")


def _refuse(text: str) -> NoReturn:
    raise CorralError(text, hint="correct OLLAMA_ORIGINS")
