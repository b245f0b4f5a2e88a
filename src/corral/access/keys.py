"""An API key as a value, and what somebody who makes one may ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from corral.caller import NO_LIMITS, SCOPES, Caller, Limits, Scope, with_implied
from corral.errors import InvalidRequestError
from corral.golang.time import format_local_time, parse_duration_ns
from corral.modelglobs import check_glob
from corral.priorities import DEFAULT_PRIORITY, Priority, read_priority

Status = Literal["active", "expired", "revoked"]

DEFAULT_SCOPES: tuple[Scope, ...] = ("infer", "read")
MAX_TEXT_CHARS = 200
# Members of a key that bound its use, 0: no limit.
LIMITS = ("rpm", "tpm", "tokens_per_day", "max_parallel", "max_predict")
_MAX_LIMIT = 10**12
_MAX_GLOBS = 100
_SECOND_NS = 1_000_000_000
_LONG_UNITS_NS = {"d": 86_400 * _SECOND_NS, "w": 7 * 86_400 * _SECOND_NS}
_LONG = re.compile(r"([0-9]{1,6})([dw])", re.ASCII)
# Times are stored as 64-bit numbers.
_MAX_AGE_NS = 100 * 365 * 86_400 * _SECOND_NS


@dataclass(frozen=True, slots=True)
class Key:
    """Times in nanoseconds since the epoch, 0: never. `models` None: all.

    `digest` is that of the whole text; the one before the last rotation, `old_digest`, holds until `old_until_ns`.
    """

    id: str
    name: str
    digest: bytes
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] | None
    created_ns: int
    expires_ns: int = 0
    disabled_ns: int = 0
    note: str = ""
    old_digest: bytes = b""
    old_until_ns: int = 0
    rpm: int = 0
    tpm: int = 0
    tokens_per_day: int = 0
    max_parallel: int = 0
    max_predict: int = 0
    priority: Priority = DEFAULT_PRIORITY

    @property
    def limits(self) -> Limits:
        return Limits(**{name: getattr(self, name) for name in LIMITS})

    def status(self, now_ns: int) -> Status:
        if self.disabled_ns:
            return "revoked"
        return "expired" if 0 < self.expires_ns <= now_ns else "active"

    def caller(self, address: str) -> Caller:
        """Who a request with this key comes from."""
        scopes = with_implied(frozenset(self.scopes))
        share = f"key {self.id}"
        return Caller(self.id, self.name, scopes, self.models, address, self.limits, self.priority, share)


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """What a new key is to be. `lifetime_ns` 0: it does not expire."""

    name: str
    scopes: tuple[Scope, ...] = DEFAULT_SCOPES
    models: tuple[str, ...] | None = None
    lifetime_ns: int = 0
    note: str = ""
    limits: Limits = NO_LIMITS
    priority: Priority = DEFAULT_PRIORITY


def read_order(values: Mapping[str, Any]) -> KeyOrder:
    """Check what `POST /api/keys` or the command line gives.

    Raises:
        InvalidRequestError
    """
    scopes = _scopes(values.get("scopes") or ())
    models = _models(values.get("models") or ())
    if "admin" in scopes and models is not None:
        raise InvalidRequestError(
            "a key with the scope admin cannot be bound to models: it can make keys that are not",
            hint="leave out the models, or the scope admin",
        )
    if "cluster" in scopes and models is not None:
        raise InvalidRequestError(
            "a key with the scope cluster cannot be bound to models: it asks for the callers of another server",
            hint="leave out the models, or the scope cluster",
        )
    return KeyOrder(
        name=_text(values.get("name", ""), "name", is_required=True),
        scopes=scopes,
        models=models,
        lifetime_ns=lifetime_ns(values.get("expires") or ""),
        note=_text(values.get("note", ""), "note"),
        limits=Limits(**{name: _limit(values.get(name, 0), name) for name in LIMITS}),
        priority=read_priority(values.get("priority") or DEFAULT_PRIORITY, "priority"),
    )


def lifetime_ns(text: str) -> int:
    """A duration like `30d`, `2w` or `12h30m`, in nanoseconds; empty is 0.

    Raises:
        InvalidRequestError: it is not one, or not between a second and a hundred years.
    """
    if not text:
        return 0
    match = _LONG.fullmatch(text)
    try:
        value_ns = int(match[1]) * _LONG_UNITS_NS[match[2]] if match else parse_duration_ns(text)
    except InvalidRequestError:
        value_ns = 0
    if not _SECOND_NS <= value_ns <= _MAX_AGE_NS:
        raise InvalidRequestError(
            f"{text[:MAX_TEXT_CHARS]!r} is not a time that a key can last",
            hint="write it like 12h, 30d or 2w",
        )
    return value_ns


def describe(key: Key, now_ns: int) -> dict[str, Any]:
    """What may be shown of a key, members in the order of `/api/keys`."""
    shown: dict[str, Any] = {
        "id": key.id,
        "name": key.name,
        "status": key.status(now_ns),
        "scopes": list(key.scopes),
        "models": None if key.models is None else list(key.models),
        "created_at": format_local_time(key.created_ns),
    }
    if key.expires_ns:
        shown["expires_at"] = format_local_time(key.expires_ns)
    if key.disabled_ns:
        shown["revoked_at"] = format_local_time(key.disabled_ns)
    if key.old_until_ns > now_ns:
        shown["previous_valid_until"] = format_local_time(key.old_until_ns)
    shown["priority"] = key.priority
    shown |= {name: value for name in LIMITS if (value := getattr(key, name))}
    if key.note:
        shown["note"] = key.note
    return shown


def _scopes(given: Sequence[str]) -> tuple[Scope, ...]:
    if unknown := sorted(set(given) - set(SCOPES)):
        raise InvalidRequestError(
            f"{unknown[0][:MAX_TEXT_CHARS]!r} is not a scope", hint=f"scopes are {', '.join(SCOPES)}"
        )
    return tuple(scope for scope in SCOPES if scope in given) or DEFAULT_SCOPES


def _models(given: Sequence[str]) -> tuple[str, ...] | None:
    if len(given) > _MAX_GLOBS:
        raise InvalidRequestError(f"a key may have {_MAX_GLOBS} patterns of models at most")
    return tuple(map(check_glob, dict.fromkeys(given))) or None


def _limit(value: int, name: str) -> int:
    if not 0 <= value <= _MAX_LIMIT:
        raise InvalidRequestError(f"{name} is a number from 0, which is no limit, to {_MAX_LIMIT}")
    return value


def _text(text: str, what: str, *, is_required: bool = False) -> str:
    cleaned = text.strip()
    if (is_required and not cleaned) or len(cleaned) > MAX_TEXT_CHARS or not cleaned.isprintable():
        raise InvalidRequestError(
            f"the {what} of a key is a text of up to {MAX_TEXT_CHARS} printable characters"
            + (", and not empty" if is_required else "")
        )
    return cleaned
