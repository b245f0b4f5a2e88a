"""The servers of a Ray cluster as members: from the file that the supervisor of this machine keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from corral.cluster.membership import Member
from corral.cluster.ray.tablefile import read_table

_LOOK_S = 0.25


class RayMembers:
    """A file that cannot be read changes nothing: a table that is away takes no node away."""

    def __init__(self, path: Path, *, look_s: float = _LOOK_S) -> None:
        self._path = path
        self._look_s = look_s
        self._seen: tuple[int, int] | None = None
        self._nodes: dict[str, Member] = {}
        self._read()

    def nodes(self) -> Mapping[str, Member]:
        return self._nodes

    async def changed(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            if self._stamp() not in (None, self._seen) and await asyncio.to_thread(self._read):
                return

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _read(self) -> bool:
        """Whether the members differ from before."""
        stamp = self._stamp()
        rows = read_table(self._path)
        if stamp is None or rows is None:
            return False
        self._seen = stamp
        # A node that was removed and joins again is another member; Ray numbers its nodes anew at each start.
        before = self._nodes
        self._nodes = {f"{name} {row.ray_node}".strip(): Member(row.url) for name, row in rows.items()}
        return self._nodes != before
