"""The actor that runs the server of a node, says to the directory how it is, and keeps the table for it in a file."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corral import __version__
from corral.cluster.ray.directory import directory_of
from corral.cluster.ray.environment import server_environment
from corral.cluster.ray.record import NodeRecord, cluster_folder
from corral.cluster.ray.serving import Phase, Serving
from corral.cluster.ray.table import Row, merged
from corral.cluster.ray.tablefile import read_table, write_table
from corral.homefolder import home_folder

_REPORT_S = 5.0
_POLL_S = 10.0
_CALL_S = 30.0
_RETRY_S = 1.0
_STOP_S = 120.0
_log = logging.getLogger("corral")


@dataclass(frozen=True, slots=True)
class GuestPlace:
    """A node that has no record: its variables say what it serves. `server_port`: where it listens."""

    server_port: int


class Supervisor:
    """Runs in a Ray actor. `place`: the folder of the node's record, or what takes its place."""

    def __init__(self, place: Path | GuestPlace) -> None:
        import ray

        self._ray: Any = ray
        context = ray.get_runtime_context()
        self._node = context.get_node_id()
        environment = server_environment()
        self._record = (
            NodeRecord.read(place)
            if isinstance(place, Path)
            else guest_record(place, environment, _address(ray))
        )
        self._wakes = threading.Event()
        self._ends = threading.Event()
        self._resources = _resources(ray, self._node)
        self._serving = Serving(self._record.order(environment), self._wakes.set)
        self._server = _thread(self._serving.run)
        self._reporter = _thread(self._report)
        _thread(self._follow)

    def row(self) -> dict[str, Any]:
        """How the server is, as the directory has it."""
        status = self._serving.status
        return asdict(
            Row(
                name=self._record.name,
                url=self._record.url,
                epoch=status.epoch,
                phase=status.phase,
                ray_node=self._node,
                pid=status.pid,
                starts=status.starts,
                version=__version__,
                detail=status.detail,
                resources=self._resources,
            )
        )

    def stop(self) -> bool:
        """End the server, and leave the directory. Whether the server has ended."""
        # The server itself says that it takes nothing new; who is forgotten loses its answers under way.
        self._serving.stop()
        self._server.join(_STOP_S)
        self._ends.set()
        self._wakes.set()
        self._reporter.join(_CALL_S)
        self._ray.get(directory_of(self._ray).forget.remote(self._record.name), timeout=_CALL_S)
        return not self._server.is_alive()

    def _report(self) -> None:
        """Say at each change how the server is, and again and again, for a directory that has just begun."""
        while not self._ends.is_set():
            self._wakes.wait(_REPORT_S)
            self._wakes.clear()
            if self._ends.is_set() or self._serving.status.phase is Phase.STOPPED:
                return
            try:
                call = directory_of(self._ray).report.remote(self.row())
                if refused := self._ray.get(call, timeout=_CALL_S):
                    _log.error("the directory does not take this server: %s", refused)
            except Exception as error:  # any of Ray's: its head is away, and comes back
                _log.warning("the directory does not answer: %s", error)
                self._ends.wait(_RETRY_S)

    def _follow(self) -> None:
        """Keep the table in its file."""
        rows = read_table(self._record.table) or {}
        incarnation, version = "", -1
        while not self._ends.is_set():
            try:
                call = directory_of(self._ray).changes.remote(incarnation, version, _POLL_S)
                content = self._ray.get(call, timeout=_POLL_S + _CALL_S)
                incarnation, version = content["incarnation"], content["version"]
                before, rows = rows, merged(rows, content)
                if rows != before or not self._record.table.exists():
                    write_table(self._record.table, rows)
            except Exception as error:  # any of Ray's, and a full disk
                _log.warning("the table is not followed: %s", error)
                self._ends.wait(_RETRY_S)


def guest_record(place: GuestPlace, environment: dict[str, str], address: str) -> NodeRecord:
    """What a node serves that Corral has not started Ray on."""
    folder = cluster_folder(home_folder(environment))
    name = environment.get("CORRAL_CLUSTER_NAME") or socket.gethostname()
    has_tls = bool(environment.get("CORRAL_TLS_CERT") or environment.get("CORRAL_TLS_SELF_SIGNED"))
    return NodeRecord(
        folder,
        name,
        address,
        place.server_port,
        head="",
        scheme="https" if has_tls else "http",
        is_guest=True,
    )


def _address(ray: Any) -> str:
    return str(ray.util.get_node_ip_address())


def _resources(ray: Any, node: str) -> dict[str, float]:
    for found in ray.nodes():
        if found["NodeID"] == node:
            return {name: size for name, size in found["Resources"].items() if name.startswith("corral_")}
    return {}


def _thread(work: Callable[[], None]) -> threading.Thread:
    """A thread without which the actor is of no use: when it fails, Ray starts the actor again."""

    def run() -> None:
        try:
            work()
        except BaseException:
            _log.exception("a supervisor fails")
            os._exit(1)

    thread = threading.Thread(target=run, name=work.__name__, daemon=True)
    thread.start()
    return thread
