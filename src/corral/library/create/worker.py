"""The program that converts, quantises, merges and imports files: `python -m corral.library.create.worker`.

It reads one JSON line from stdin (the order), writes JSON lines to stdout (progress, then a result or an error), and
exits as soon as stdin is closed: then the server is gone, or does not need the result any more. It runs with low
priority and limited memory, so the server is not slowed down.

    {"progress": [done_bytes, total_bytes]}
    {"result": {"digest": "sha256:...", "size": n, "method": "copy"}}
    {"error": {"kind": "QuantizeError", "message": "...", "hint": "..."}}
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from corral.childlimits import limit_self
from corral.digest import hash_file
from corral.disk import sync_file
from corral.errors import CorralError

_PROGRESS_INTERVAL_S = 0.1
_NICE = 10


class _Reporter:
    """Reports progress at most ten times a second, and always the end."""

    def __init__(self) -> None:
        self._last_s = 0.0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        now_s = time.monotonic()
        if done_bytes >= total_bytes or now_s - self._last_s >= _PROGRESS_INTERVAL_S:
            self._last_s = now_s
            _say({"progress": [done_bytes, total_bytes]})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _paths(order: Mapping[str, Any], name: str) -> dict[str, Path]:
    return {key: Path(value) for key, value in order[name].items()}


def _convert(order: Mapping[str, Any], report: _Reporter) -> None:
    from corral.weights.convert import convert_model

    convert_model(
        _paths(order, "files"),
        Path(order["destination"]),
        on_progress=report,
        keep_float32=order["keep_float32"],
    )


def _convert_adapter(order: Mapping[str, Any], report: _Reporter) -> None:
    from corral.weights.convert import convert_adapter

    convert_adapter(
        _paths(order, "files"), Path(order["base"]), Path(order["destination"]), on_progress=report
    )


def _quantize(order: Mapping[str, Any], report: _Reporter) -> None:
    from corral.weights.quantize import quantize_file

    quantize_file(
        Path(order["source"]),
        Path(order["destination"]),
        order["file_type"],
        imatrix=Path(order["imatrix"]) if order["imatrix"] else None,
        on_progress=report,
    )


def _merge(order: Mapping[str, Any], report: _Reporter) -> None:
    from corral.weights.quantize import merge_splits

    parts = _paths(order, "files")
    merge_splits(list(parts.values()), Path(order["destination"]), names=list(parts), on_progress=report)


def _set_projector_type(order: Mapping[str, Any], report: _Reporter) -> None:
    from corral.library.create.projector import set_projector_type

    set_projector_type(Path(order["source"]), Path(order["destination"]), on_progress=report)


_MAKERS: dict[str, Callable[[Mapping[str, Any], _Reporter], None]] = {
    "convert": _convert,
    "convert_adapter": _convert_adapter,
    "quantize": _quantize,
    "merge": _merge,
    "set_projector_type": _set_projector_type,
}


def _work(order: Mapping[str, Any]) -> dict[str, Any]:
    report = _Reporter()
    if order["work"] == "take_in":
        from corral.library.create.ingest import take_in

        return take_in(Path(order["source"]), Path(order["destination"]), order["mode"], report)
    _MAKERS[order["work"]](order, report)
    destination = Path(order["destination"])
    sync_file(destination)
    return {"digest": str(hash_file(destination)), "size": destination.stat().st_size, "method": "copy"}


def _end_with_stdin() -> None:
    """Wait until the other side closes the pipe; ignore anything it sends."""
    while os.read(0, 4096):
        continue
    os._exit(0)


def main() -> None:
    """Run one order."""
    order = json.loads(sys.stdin.buffer.readline())
    limit_self(oom_score=700, niceness=_NICE, memory_bytes=order["memory_limit_bytes"])
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        result = _work(order)
    except CorralError as error:
        _say({"error": {"kind": type(error).__name__, "message": str(error), "hint": error.hint}})
    except MemoryError:
        message = f"this needs more than the {order['memory_limit_bytes'] / 1e9:.1f} GB of available memory"
        _say({"error": {"kind": "CorralError", "message": message, "hint": ""}})
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _say({"error": {"kind": "StoreError", "message": message, "hint": ""}})
    else:
        _say({"result": result})
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
