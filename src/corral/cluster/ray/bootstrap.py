"""What a machine asks of the Ray cluster that it belongs to: `python -m corral.cluster.ray.bootstrap FOLDER WHAT`.

A process of its own, since Ray's library stays once it is loaded. `WHAT` is `up` (start the server here, and wait
until it answers), `every` (on every node, of a cluster of somebody else's), `down` (end it, and leave) or
`forget NAME`. It prints one line of JSON: what came of it, or `error` and `hint`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corral.cluster.ray.directory import EveryNode, directory_of, wake
from corral.cluster.ray.failures import explain, unexplained
from corral.cluster.ray.library import NAMESPACE, RayError, connect
from corral.cluster.ray.placing import GuestServers, supervise, supervise_here, supervisor_name
from corral.cluster.ray.record import NodeRecord
from corral.cluster.ray.serving import Phase
from corral.cluster.ray.table import Row, row_of
from corral.errors import CorralError

_CALL_S = 60.0
_UP_S = 180.0
_DOWN_S = 150.0


def up(ray: Any, record: NodeRecord) -> dict[str, Any]:
    """Start the supervisor of this node, and return when its server answers.

    Raises:
        RayError: another node has this name, or the server does not start.
    """
    directory = directory_of(ray)
    here = _node_of(ray, record)
    rows = _rows(ray, directory)
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    known = rows.get(record.name)
    if known is not None and known.ray_node != here and known.ray_node in alive:
        raise RayError(
            f"the cluster has a node called {record.name} already: {known.url}", hint="choose another --name"
        )
    _check_alive(ray, supervise_here(ray, record) if record.is_guest else supervise(ray, record))
    row = _wait(ray, directory, lambda rows: _settled(rows.get(record.name), here))
    if row.phase != Phase.SERVING:
        raise RayError(f"the server on {record.name} does not start: {row.detail or row.phase}")
    rows = _rows(ray, directory)
    return {**asdict(row), "nodes": sorted(rows), "versions": sorted({row.version for row in rows.values()})}


def _check_alive(ray: Any, supervisor: Any) -> None:
    """Raises RayError: it cannot run on its node, where Corral may be missing."""
    try:
        ray.get(supervisor.row.remote(), timeout=_UP_S)
    except ray.exceptions.ActorUnavailableError:
        return  # Ray starts it again
    except ray.exceptions.RayActorError as error:
        raise RayError(
            f"the supervisor does not run: {str(error).splitlines()[-1]}",
            hint="is corral[cluster] installed where that Ray's workers run?",
        ) from error


def every(ray: Any, record: NodeRecord) -> dict[str, Any]:
    """Have servers started on all nodes that offer memory, those that come later too; does not wait for them."""
    wanted = EveryNode(GuestServers(record.server_port), wake)
    directory = directory_of(ray, wanted)
    if not ray.get(directory.is_everywhere.remote(), timeout=_CALL_S):
        ray.kill(directory, no_restart=True)  # what it is made with outlives its restarts
        directory = directory_of(ray, wanted)
    return {"nodes": sorted(_rows(ray, directory))}


def down(ray: Any, record: NodeRecord) -> dict[str, Any]:
    """End the server of this node, and its supervisor for good; not that of another node with the name."""
    row = _rows(ray, directory_of(ray)).get(record.name)
    is_own = row is None or row.ray_node == _node_of(ray, record)
    return {"left": is_own and _end(ray, record.name)}


def down_everywhere(ray: Any) -> dict[str, Any]:
    """End all servers, and the directory before them, so that none is started again."""
    directory = directory_of(ray)
    rows = _rows(ray, directory)
    ray.kill(directory, no_restart=True)
    for row in rows.values():
        _end(ray, row.name) or _end(ray, row.ray_node)
    ray.kill(directory_of(ray), no_restart=True)  # a supervisor that left has made another
    return {"left": bool(rows)}


def forget(ray: Any, name: str) -> dict[str, Any]:
    """Take out a node that does not come back."""
    directory = directory_of(ray)
    row = _rows(ray, directory).get(name)
    # Of a guest without a record, the actor has the name of the Ray node.
    names = [name] if row is None else [name, row.ray_node]
    has_ended = any(_end(ray, each, is_gone=True) for each in names)
    was_known = ray.get(directory.forget.remote(name), timeout=_CALL_S)
    return {"left": has_ended or was_known}


def _end(ray: Any, name: str, *, is_gone: bool = False) -> bool:
    """Whether there was a supervisor."""
    try:
        actor = ray.get_actor(supervisor_name(name), namespace=NAMESPACE)
    except ValueError:
        return False
    try:
        if not is_gone:
            ray.get(actor.stop.remote(), timeout=_DOWN_S)
    except ray.exceptions.RayError as error:
        print(f"the supervisor of {name} does not answer: {error}", file=sys.stderr)
    finally:
        ray.kill(actor, no_restart=True)
    return True


def _node_of(ray: Any, record: NodeRecord) -> str:
    """Ray's id of this node. A name may be another's too, and a machine may have several nodes."""
    if record.is_guest:
        return str(ray.get_runtime_context().get_node_id())
    wanted = (record.name, record.plan().first)
    for node in ray.nodes():
        is_here = (node["NodeName"], node["NodeManagerPort"]) == wanted and _is_local(
            node["NodeManagerAddress"]
        )
        if node["Alive"] and is_here:
            return str(node["NodeID"])
    raise RayError(f"Ray does not know the node {record.name}, port {record.plan().first}, of this machine")


def _is_local(address: str) -> bool:
    """Whether this machine has the address. Ray takes another one in place of 127.0.0.1."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _settled(row: Row | None, here: str) -> Row | None:
    """The row of this node's own supervisor, once its server answers or has failed."""
    is_own = row is not None and row.ray_node == here
    return row if is_own and row is not None and row.phase in (Phase.SERVING, Phase.WAITING) else None


def _rows(ray: Any, directory: Any) -> dict[str, Row]:
    return _rows_of(ray.get(directory.changes.remote(), timeout=_CALL_S))


def _rows_of(content: dict[str, Any]) -> dict[str, Row]:
    return {row.name: row for row in map(row_of, content["nodes"]) if row is not None}


def _wait(ray: Any, directory: Any, found: Callable[[dict[str, Row]], Row | None]) -> Row:
    """Follow the table until it has what is looked for.

    Raises:
        RayError: the time is up.
    """
    deadline_s = time.monotonic() + _UP_S
    incarnation, version = "", -1
    while time.monotonic() < deadline_s:
        content = ray.get(directory.changes.remote(incarnation, version, 5.0), timeout=_CALL_S)
        incarnation, version = content["incarnation"], content["version"]
        if row := found(_rows_of(content)):
            return row
    raise RayError(f"no server has come up within {_UP_S:g} s", hint="see `ray status`, and Ray's logs")


def _run(folder: Path, words: list[str]) -> dict[str, Any]:
    record = NodeRecord.read(folder)
    ray = connect(record.head)
    match words:
        case ["up"]:
            return up(ray, record)
        case ["every"]:
            return every(ray, record)
        case ["down"]:
            return down_everywhere(ray) if record.is_everywhere else down(ray, record)
        case ["forget", name]:
            return forget(ray, name)
    raise RayError(f"unknown: {words}")


def main(words: list[str]) -> int:
    folder = Path(words[0])
    try:
        answer = _run(folder, words[1:])
    except CorralError as error:
        answer = {"error": str(error), "hint": error.hint}
    except Exception as error:
        text = traceback.format_exc()
        print(text, file=sys.stderr)
        told = explain(text, NodeRecord.read(folder).head) or unexplained(str(error))
        answer = {"error": str(told), "hint": told.hint}
    print(json.dumps(answer), flush=True)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # Ray's threads take seconds to end
