"""Asks a server for a look, and does not believe what comes back before its shape is right."""

from __future__ import annotations

from typing import Any

from corral.cli.http.client import APIError, Client
from corral.cli.terminal.formatting import parse_time
from corral.cli.top.figures import Answer

_Shape = dict[str, type | tuple[type, ...]]
_NUMBER = (int, float)
_SIZES: _Shape = {"total": int, "free": int}
_MODEL: _Shape = {"name": str, "state": str}
_LOADED: _Shape = {
    "size": int,
    "size_vram": int,
    "context_length": int,
    "expires_at": str,
    "slots": int,
    "running": int,
}
_COUNTS: _Shape = {"waiting": int, "generated_tokens": int, "progress": _NUMBER}
_REQUEST: _Shape = {"id": str, "model": str, "state": str}
_WAITS: _Shape = {
    "position": int,
    "waited_ms": _NUMBER,
    "eta_ms": _NUMBER,
    "tokens": int,
    "tokens_per_s": _NUMBER,
}
_RECENT: _Shape = {
    "id": str,
    "status": int,
    "ended_at": str,
    "ms": _NUMBER,
    "prompt_tokens": int,
    "tokens": int,
}


def ask(client: Client) -> Answer:
    """One look.

    Raises:
        APIError: also if the answer is not one.
        NoServerError
    """
    url = client.address.url()
    try:
        answer = client.call("GET", "/api/top")
    except APIError as error:
        if error.status == 404:
            raise APIError(
                f"the server at {url} is not Corral, or an older version of it: it does not have /api/top",
                hint="corral ps shows its models",
            ) from None
        raise
    if not _is_right(answer):
        raise APIError(f"the response of {url}/api/top does not have the expected members")
    found: Answer = answer
    return found


def _is_right(answer: Any) -> bool:
    if not _has(answer, {"version": str, "started_at": str, "memory": dict}):
        return False
    memory = answer["memory"]
    return (
        _is_time(answer["started_at"])
        and _has(memory, _SIZES)
        and _each(memory, "devices", {"name": str, **_SIZES})
        and _each(answer, "models", _MODEL, _COUNTS)
        and all(model["state"] == "loading" or _is_loaded(model) for model in answer["models"])
        and _each(answer, "requests", _REQUEST, _WAITS)
        and _each(answer, "recent", _RECENT, {"tokens_per_s": _NUMBER})
    )


def _is_loaded(model: Any) -> bool:
    return _has(model, _LOADED) and _is_time(model["expires_at"])


def _is_time(text: str) -> bool:
    try:
        moment = parse_time(text)
    except ValueError:
        return False
    return moment is None or moment.tzinfo is not None


def _each(answer: Any, name: str, needed: _Shape, possible: _Shape | None = None) -> bool:
    entries = answer.get(name)
    return isinstance(entries, list) and all(_has(entry, needed, possible) for entry in entries)


def _has(entry: Any, needed: _Shape, possible: _Shape | None = None) -> bool:
    if not isinstance(entry, dict):
        return False
    wrong = [name for name, kind in (possible or {}).items() if not isinstance(entry.get(name, 0), kind)]
    return not wrong and all(isinstance(entry.get(name), kind) for name, kind in needed.items())
