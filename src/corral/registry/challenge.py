"""`WWW-Authenticate`: how a registry wants to be asked. Parsed tolerantly (quoted or not) and within bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_MAX_CHARS = 16_384
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
# Values without quotes need not be tokens: some registries send bare URLs.
_BARE = re.compile(r'[^\s,"]+')
_SPACE = re.compile(r"[ \t,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; the scheme in lower case, parameter names too."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        return self.parameters.get("service", "")

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(self.parameters.get("scope", "").split())


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of a reply, in order; what cannot be read is left out."""
    found: list[Challenge] = []
    for header in headers:
        found.extend(_parse(header[:_MAX_CHARS]))
    return found


def _parse(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    scheme, pos = "", 0
    parameters: dict[str, str] = {}

    def flush() -> None:
        if scheme:
            found.append(Challenge(scheme, parameters))

    while True:
        pos = _end(_SPACE, text, pos)
        token = _TOKEN.match(text, pos)
        if token is None:
            break
        after = _end(re.compile(r"[ \t]*"), text, token.end())
        if text[after : after + 1] == "=" and scheme and (value := _value(text, after + 1)):
            parameters.setdefault(token[0].lower(), value[0])
            pos = value[1]
        elif after > token.end() or after == len(text) or text[after] == ",":
            flush()
            scheme, parameters, pos = token[0].lower(), {}, after
        else:
            break
    flush()
    return found


def _end(pattern: re.Pattern[str], text: str, pos: int) -> int:
    match = pattern.match(text, pos)
    return match.end() if match else pos


def _value(text: str, pos: int) -> tuple[str, int] | None:
    pos = _end(re.compile(r"[ \t]*"), text, pos)
    if quoted := _QUOTED.match(text, pos):
        return re.sub(r"\\(.)", r"\1", quoted[1]), quoted.end()
    if bare := _BARE.match(text, pos):
        return bare[0], bare.end()
    return None
