"""What a node says of itself, as a value and as a line of JSON. Lines of other nodes are untrusted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from corral.cluster.view import LoadedModel
from corral.clustervalues import is_node_name
from corral.errors import CorralError, InvalidModelNameError
from corral.golang.json import encode
from corral.names import ModelName

MAX_LINE_BYTES = 8 << 20
_MAX_MODELS = 20_000
_MAX_LOADED = 1000
_MAX_NUMBER = 1 << 53
_EPOCH = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{12,64}", re.ASCII)
_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,64}", re.ASCII)


class StateError(CorralError):
    """What a node sent is not a state."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """All that a node says of itself.

    Attributes:
        name: by which it calls itself.
        epoch: random, made at each start.
        version: of Corral.
        clock_s: its wall clock, in seconds since the epoch.
        is_draining: it ends what it does and takes nothing new.
        models: digests of manifests by the full names of models; also by aliases.
        loaded: by digest.
        free_bytes: memory for further models.
        total_bytes: of memory.
        disk_bytes: free on the disk of its models.
        load_seconds: how long the last load took, by digest.
    """

    name: str
    epoch: str
    version: str = ""
    clock_s: float = 0.0
    is_draining: bool = False
    models: Mapping[str, str] = field(default_factory=dict)
    loaded: Mapping[str, LoadedModel] = field(default_factory=dict)
    free_bytes: int = 0
    total_bytes: int = 0
    disk_bytes: int = 0
    load_seconds: Mapping[str, float] = field(default_factory=dict)


def line_of(state: NodeState, *, has_models: bool) -> bytes:
    """A state as it is sent. Without its models the receiver keeps those that it has."""
    values: dict[str, Any] = {
        "name": state.name,
        "epoch": state.epoch,
        "version": state.version,
        "clock": round(state.clock_s, 3),
        "draining": state.is_draining,
        "loaded": [
            {
                "digest": model.digest,
                "slots": model.slots,
                "running": model.running,
                "waiting": model.waiting,
                "loading": model.is_loading,
                "memory": model.memory_bytes,
            }
            for model in state.loaded.values()
        ],
        "free": state.free_bytes,
        "total": state.total_bytes,
        "disk": state.disk_bytes,
        "load_seconds": {digest: round(seconds, 3) for digest, seconds in state.load_seconds.items()},
    }
    if has_models:
        values["models"] = dict(state.models)
    return encode(values) + b"\n"


def parse_line(line: bytes, before: NodeState | None = None) -> NodeState:
    """Read a line. `before`: what the node said last, for what the line leaves out.

    Raises:
        StateError
    """
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise StateError("a node sent something that is not JSON") from None
    if not isinstance(values, dict):
        raise StateError("a node sent something that is not an object")
    name, epoch = _text(values, "name"), _text(values, "epoch")
    if not is_node_name(name) or not _EPOCH.fullmatch(epoch):
        raise StateError("a node sent no name, or no epoch")
    is_same = before is not None and before.epoch == epoch
    version = _text(values, "version")
    state = NodeState(
        name=name,
        epoch=epoch,
        version=version if _VERSION.fullmatch(version) else "",
        clock_s=_number(values.get("clock")),
        is_draining=values.get("draining") is True,
        loaded={model.digest: model for model in map(_loaded, _list(values, "loaded", _MAX_LOADED))},
        free_bytes=_count(values.get("free")),
        total_bytes=_count(values.get("total")),
        disk_bytes=_count(values.get("disk")),
        load_seconds={
            _digest(digest): _number(seconds)
            for digest, seconds in _dict(values, "load_seconds", _MAX_LOADED).items()
        },
    )
    if "models" in values:
        return replace(state, models=_models(_dict(values, "models", _MAX_MODELS)))
    return replace(state, models=before.models) if is_same and before is not None else state


def _models(found: dict[str, Any]) -> dict[str, str]:
    try:
        return {ModelName.parse(name).full(): _digest(digest) for name, digest in found.items()}
    except InvalidModelNameError:
        raise StateError("a node sent a model whose name is none") from None


def _loaded(value: object) -> LoadedModel:
    if not isinstance(value, dict):
        raise StateError("a node sent a loaded model that is not an object")
    return LoadedModel(
        digest=_digest(value.get("digest")),
        slots=max(_count(value.get("slots")), 1),
        running=_count(value.get("running")),
        waiting=_count(value.get("waiting")),
        is_loading=value.get("loading") is True,
        memory_bytes=_count(value.get("memory")),
    )


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise StateError("a node sent a digest that is none")
    return value


def _text(values: dict[str, Any], name: str) -> str:
    found = values.get(name)
    return found if isinstance(found, str) else ""


def _list(values: dict[str, Any], name: str, most: int) -> list[Any]:
    found = values.get(name, [])
    if not isinstance(found, list) or len(found) > most:
        raise StateError(f"a node sent {name} that is no list, or too long a one")
    return found


def _dict(values: dict[str, Any], name: str, most: int) -> dict[str, Any]:
    found = values.get(name, {})
    if not isinstance(found, dict) or len(found) > most:
        raise StateError(f"a node sent {name} that is no object, or too large a one")
    return found


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return min(max(float(value), 0.0), float(_MAX_NUMBER))


def _count(value: object) -> int:
    return int(_number(value))
