"""The newest table as a file: the supervisor of a machine writes it, and the server there reads it.

So a server needs nothing of Ray, and one that starts while Ray is away knows the others from before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from corral.cluster.ray.table import Row, row_of
from corral.disk import make_folders, write_atomically

NAME = "nodes.json"
_MAX_BYTES = 8 << 20


def write_table(path: Path, rows: Mapping[str, Row]) -> None:
    """Replace the file. Raises OSError."""
    make_folders(path.parent, mode=0o700)
    text = json.dumps({"nodes": [asdict(row) for row in rows.values()]})
    write_atomically(path, text.encode(), mode=0o600)


def read_table(path: Path) -> dict[str, Row] | None:
    """The rows by name; None if there is no such file, or it holds something else."""
    with suppress(OSError, ValueError):
        if path.stat().st_size <= _MAX_BYTES:
            found = json.loads(path.read_bytes())
            rows = found.get("nodes") if isinstance(found, dict) else None
            if isinstance(rows, list):
                return {row.name: row for row in map(row_of, rows) if row is not None}
    return None
