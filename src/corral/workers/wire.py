"""How a job and its result cross the pipes between the server and a worker.

The worker is told what to do in a pickle: the server is trusted. What comes back is not, because a job works on
foreign data: the server reads it with an unpickler that knows plain values and Corral's own dataclasses, nothing
else. A request is `REQUEST` and a pickle of `(job, args, kwargs)`, a reply `REPLY` and a pickle.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

from corral import errors
from corral.errors import CorralError

__all__ = [
    "FAILED",
    "MEMORY",
    "REFUSED",
    "REPLY",
    "REQUEST",
    "RESULT",
    "dump_chunks",
    "load_result",
    "restored_error",
]

# Seconds of processor time, bytes of memory, length of the pickle.
REQUEST = struct.Struct("!dQQ")
# What the pickle is (below), whether the worker ends after this job, length of the pickle.
REPLY = struct.Struct("!B?Q")
RESULT = 0  # the job's value
REFUSED = 1  # a CorralError: (class name, message, hint)
FAILED = 2  # any other exception: its text
MEMORY = 3  # a MemoryError: None


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
    """Makes plain values, and those dataclasses of Corral that this process has loaded."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins" and name in ("complex", "frozenset", "set"):
            return super().find_class(module, name)
        found = getattr(sys.modules.get(module), name, None) if module.startswith("corral.") else None
        if isinstance(found, type) and dataclasses.is_dataclass(found):
            return found
        raise pickle.UnpicklingError(f"a worker may not make a {module}.{name}")


def load_result(data: bytes | bytearray) -> Any:
    """The value in a reply.

    Raises:
        pickle.UnpicklingError: it is not one that a worker may send. A damaged pickle raises others, too.
    """
    return _PlainUnpickler(io.BytesIO(data)).load()


def restored_error(kind: str, message: str, hint: str) -> CorralError:
    """An error of another process: of the nearest class above its own that a message makes up."""
    found = getattr(errors, kind, CorralError)
    kinds: Iterable[type] = found.__mro__ if isinstance(found, type) else ()
    make: Callable[..., Any] = next(
        (c for c in kinds if issubclass(c, CorralError) and (c is CorralError or "__init__" not in vars(c))),
        CorralError,
    )
    error = make(message, hint=hint)
    assert isinstance(error, CorralError)
    return error
