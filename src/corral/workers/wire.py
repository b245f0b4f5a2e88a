"""How a job and its result cross the pipes between the server and a worker.

The worker gets its job as a pickle: it trusts the server. The result is not trusted, because a job works on foreign
data: the server reads it with an unpickler that accepts plain values and Corral's own dataclasses, nothing else. A
request is `REQUEST` and a pickle of `(job, args, kwargs)`, a reply `REPLY` and a pickle.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
import sys
from collections.abc import Iterable
from typing import Any

from corral import errors
from corral.errors import CorralError

# Seconds of processor time, bytes of memory, length of the pickle.
REQUEST = struct.Struct("!dQQ")
# The kind of reply (below), whether the worker ends after this job, length of the pickle.
REPLY = struct.Struct("!B?Q")
RESULT = 0  # the job's value
REFUSED = 1  # a CorralError: (names of its class and those above, message, hint)
FAILED = 2  # any other exception: its text
MEMORY = 3  # a MemoryError: None

# Where the system does not limit memory (macOS), the worker ends itself with this status.
EXIT_MEMORY = 77


class _Chunks:
    """Collects a pickle without copying the long texts and bytes in it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(data)
        return len(data)


def dump_chunks(value: object) -> list[bytes]:
    """A pickle of `value`, in pieces."""
    chunks = _Chunks()
    pickle.Pickler(chunks, protocol=5).dump(value)
    return chunks.parts


class _PlainUnpickler(pickle.Unpickler):
    """Makes plain values and, of Corral's classes that this process has loaded, those that hold only data:
    dataclasses and those that set `is_only_data`.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins" and name in ("complex", "frozenset", "set"):
            return super().find_class(module, name)
        found = getattr(sys.modules.get(module), name, None) if module.startswith("corral.") else None
        if isinstance(found, type) and (dataclasses.is_dataclass(found) or "is_only_data" in vars(found)):
            return found
        raise pickle.UnpicklingError(f"a worker must not return a {module}.{name}")


def load_result(data: io.BytesIO) -> Any:
    """The value in a reply.

    Raises:
        pickle.UnpicklingError: a worker must not send it. A damaged pickle may raise other errors.
    """
    return _PlainUnpickler(data).load()


def restored_error(kinds: Iterable[str], message: str, hint: str) -> CorralError:
    """An error of another process, in the first class of `kinds` that `corral.errors` has and a message makes."""
    for kind in kinds:
        found = getattr(errors, kind, None)
        if isinstance(found, type) and issubclass(found, CorralError):
            is_plain = found is CorralError or all("__init__" not in vars(c) for c in _own_classes(found))
            if is_plain:
                return found(message, hint=hint)
    return CorralError(message, hint=hint)


def _own_classes(kind: type[CorralError]) -> list[type]:
    """A class and those above it, below CorralError."""
    return [c for c in kind.__mro__ if c is not CorralError and issubclass(c, CorralError)]
