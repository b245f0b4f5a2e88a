"""For whom one server of a cluster asks another: a header, believed only beside the cluster's key.

It has what the other one needs of the caller, never the caller's key: whose request it is, which models it may use,
how urgent it is, and how long an answer may be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from corral.caller import SCOPES, Caller, Scope
from corral.errors import InvalidRequestError
from corral.modelglobs import check_glob
from corral.priorities import DEFAULT_PRIORITY, is_priority

HEADER = b"x-corral-hop"
_MAX_CHARS = 48_000
# Of those that are kept, because the same callers come again and again.
_KEPT, _MAX_KEPT_CHARS = 512, 2000
_MAX_TEXT_CHARS = 300
_MAX_MODELS = 200
_MAX_NUMBER = 1 << 40
# What nobody can be asked to do for another: keys, and what belongs to one machine.
_NEVER: frozenset[Scope] = frozenset({"cluster"})


@dataclass(frozen=True, slots=True)
class Hop:
    """`caller.gateway` is the server that asks. `predict`: how many tokens an answer may have; 0: any number."""

    caller: Caller
    predict: int = 0


@lru_cache(_KEPT)
def header_value(gateway: str, who: Caller, predict: int = 0) -> bytes:
    """The header by which a gateway says for whom it asks."""
    values: dict[str, Any] = {
        "gateway": gateway,
        "key": who.key_id,
        "name": who.name,
        "scopes": [scope for scope in SCOPES if scope in who.scopes and scope not in _NEVER],
        "address": who.address,
        "priority": who.priority,
        "share": who.share,
    }
    if who.models is not None:
        values["models"] = list(who.models)
    if predict:
        values["predict"] = predict
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def parse(header: str) -> Hop:
    """Raises InvalidRequestError: it is not such a header."""
    return _kept(header) if len(header) <= _MAX_KEPT_CHARS else _parsed(header)


@lru_cache(_KEPT)
def _kept(header: str) -> Hop:
    return _parsed(header)


def _parsed(header: str) -> Hop:
    try:
        values = json.loads(header) if len(header) <= _MAX_CHARS else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise _invalid()
    priority = _text(values, "priority") or DEFAULT_PRIORITY
    predict = values.get("predict", 0)
    gateway = _text(values, "gateway")
    if not is_priority(priority) or not gateway or type(predict) is not int:
        raise _invalid()
    who = Caller(
        key_id=_text(values, "key"),
        name=_text(values, "name"),
        scopes=_scopes(values.get("scopes")),
        models=_models(values.get("models")),
        address=_text(values, "address"),
        priority=priority,
        share=_text(values, "share"),
        gateway=gateway,
    )
    return Hop(who, min(max(predict, 0), _MAX_NUMBER))


def _scopes(found: object) -> frozenset[Scope]:
    if not isinstance(found, list):
        raise _invalid()
    return frozenset(scope for scope in SCOPES if scope in found and scope not in _NEVER)


def _models(found: object) -> tuple[str, ...] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > _MAX_MODELS:
        raise _invalid()
    if not all(isinstance(glob, str) for glob in found):
        raise _invalid()
    return tuple(map(check_glob, found))


def _text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name, "")
    if not isinstance(found, str) or len(found) > _MAX_TEXT_CHARS or (found and not found.isprintable()):
        raise _invalid()
    return found


def _invalid() -> InvalidRequestError:
    return InvalidRequestError("the header X-Corral-Hop is not one that a server of the cluster sends")
