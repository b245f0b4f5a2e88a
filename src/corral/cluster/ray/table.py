"""The table of a Ray cluster's servers: who serves where. Values only; the actor in directory.py owns one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from corral.cluster.ray.serving import Phase

# A new directory does not know yet who belongs to the cluster; each supervisor reports within this time.
GATHER_S = 15.0
# A server whose Ray node is gone may still write the ends of its answers; a member that is taken out loses them.
LINGER_S = 40.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One server.

    Attributes:
        name: by which it is known in the cluster.
        url: where it answers, without a slash at the end.
        epoch: differs after each start of the server; empty before the first.
        phase: as its supervisor sees it.
        ray_node: hexadecimal id of the Ray node that its supervisor runs on.
        pid: of the server; 0 if none runs.
        starts: how often this supervisor has started it.
        version: of Corral.
        detail: why it does not serve.
        resources: of the Ray node, as `corral_ram_gb`.
    """

    name: str
    url: str
    epoch: str = ""
    phase: str = Phase.STARTING
    ray_node: str = ""
    pid: int = 0
    starts: int = 0
    version: str = ""
    detail: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)


def row_of(values: object) -> Row | None:
    """Read a row that came from elsewhere; None if it is not one."""
    if not isinstance(values, dict):
        return None
    name, url = str(values.get("name", "")), str(values.get("url", ""))
    parts = urlsplit(url)
    if not _NAME.fullmatch(name) or parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
        return None
    found = values.get("resources")
    resources = found if isinstance(found, dict) else {}
    return Row(
        name=name,
        url=url,
        epoch=_text(values.get("epoch")),
        phase=_text(values.get("phase")),
        ray_node=_text(values.get("ray_node")),
        pid=_count(values.get("pid")),
        starts=_count(values.get("starts")),
        version=_text(values.get("version")),
        detail=_text(values.get("detail")),
        resources={
            str(name): float(size) for name, size in resources.items() if isinstance(size, int | float)
        },
    )


def _text(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


class Table:
    """Rows by name. `version` grows with every change; times are seconds of a clock of the caller's."""

    def __init__(self, now_s: float) -> None:
        self._begin_s = now_s
        self._rows: dict[str, Row] = {}
        # When the Ray nodes of rows were first missing, by names.
        self._missing_s: dict[str, float] = {}
        self.version = 0

    def report(self, row: Row, alive: Collection[str]) -> str:
        """Take what a supervisor says; why not, if the name belongs to another node. `alive`: ids of Ray nodes."""
        known = self._rows.get(row.name)
        if known is not None and known.ray_node != row.ray_node and known.ray_node in alive:
            return f"another node of the cluster is called {row.name}: {known.url}"
        self._missing_s.pop(row.name, None)
        if known != row:
            self._rows[row.name] = row
            self.version += 1
        return ""

    def forget(self, name: str) -> bool:
        """Whether there was such a server."""
        self._missing_s.pop(name, None)
        if self._rows.pop(name, None) is None:
            return False
        self.version += 1
        return True

    def keep(self, alive: Collection[str], now_s: float) -> list[str]:
        """Take out the servers of Ray nodes that have been gone for a while; their names."""
        missing = [row.name for row in self._rows.values() if row.ray_node not in alive]
        self._missing_s = {name: self._missing_s.get(name, now_s) for name in missing}
        gone = [name for name, since_s in self._missing_s.items() if now_s - since_s >= LINGER_S]
        for name in gone:
            self.forget(name)
        return gone

    def names_on(self, ray_node: str) -> list[str]:
        return [row.name for row in self._rows.values() if row.ray_node == ray_node]

    def content(self, now_s: float) -> dict[str, Any]:
        """The table as JSON has it. Until it is complete, what is missing in it means nothing."""
        return {
            "version": self.version,
            "complete": now_s - self._begin_s >= GATHER_S,
            "nodes": [asdict(row) for row in self._rows.values()],
        }


def merged(known: Mapping[str, Row], content: Mapping[str, Any]) -> dict[str, Row]:
    """What a reader knows after a table has come."""
    found = content.get("nodes")
    rows = {row.name: row for row in map(row_of, found if isinstance(found, list) else []) if row is not None}
    return rows if content.get("complete") is True else {**known, **rows}
