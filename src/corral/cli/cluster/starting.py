"""`cluster start` and `cluster join`: a Ray node on this machine, with the server in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from corral import __version__
from corral.cli.cluster.noderecord import record_of
from corral.cli.frame.flags import PROGRAM, Arguments
from corral.cli.terminal.screen import safe
from corral.cluster.ray.keeper import ask, end_left_over, environment_for
from corral.cluster.ray.keeper import main as keep
from corral.cluster.ray.library import RayError, need_ray
from corral.cluster.ray.logfile import open_log
from corral.cluster.ray.ports import is_taken
from corral.cluster.ray.reaching import check_reach
from corral.cluster.ray.record import NodeRecord
from corral.cluster.ray.single import holder
from corral.config import Settings
from corral.errors import CorralError


def start(arguments: Arguments) -> int:
    """Raises UsageError, CorralError."""
    need_ray()
    record = record_of(arguments, Settings.load())
    if pid := holder(record.lock):
        raise RayError(
            f"this machine has a node of a Ray cluster already (process {pid})",
            hint=f"{PROGRAM} cluster leave ends it",
        )
    if record.is_guest:
        _start_guest(record)
        return 0
    end_left_over(record)
    check_reach(record)
    _check_server_port(record)
    record.write()
    try:
        if arguments.has("foreground"):
            return keep(record.folder, lambda said: _show(record, said))
        return _keep_in_background(record)
    except BaseException:
        record.remove()
        raise


def _check_server_port(record: NodeRecord) -> None:
    """Raises RayError: a server runs there that is not the node's own."""
    if is_taken(record.address, record.server_port) and not holder(record.folder / "server.lock"):
        raise RayError(
            f"something listens on {record.address}:{record.server_port} already",
            hint="the cluster starts a server of its own: stop that one, or set OLLAMA_HOST to another port",
        )


def _start_guest(record: NodeRecord) -> None:
    record.write()
    _print(f"Asking Ray at {record.head} ...")
    try:
        answer = ask(record, environment_for(record), "every" if record.is_everywhere else "up")
    except CorralError:
        record.remove()
        raise
    if record.is_everywhere:
        names = ", ".join(safe(name) for name in answer["nodes"]) or "none yet"
        print(f"A server starts on every node that offers corral_ram_gb; nodes now: {names}")
    else:
        _show_ready(record, answer)


def _keep_in_background(record: NodeRecord) -> int:
    """Return when the server answers; what keeps the node outlives this program."""
    log = open_log(record.log)
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "corral.cluster.ray.keeper", str(record.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
    assert keeper.stdout is not None
    try:
        for line in keeper.stdout:
            said = json.loads(line)
            _show(record, said)
            if "ready" in said:
                return 0
    except KeyboardInterrupt:
        keeper.terminate()
        keeper.wait()
        raise
    raise RayError(f"the node ended with status {keeper.wait()}", hint=f"see {record.log}")


def _show(record: NodeRecord, said: dict[str, Any]) -> None:
    """One line of the keeper's, for people.

    Raises:
        RayError: it could not start.
    """
    if "error" in said:
        raise RayError(said["error"], hint=said.get("hint", ""))
    if "step" in said:
        _print(said["step"])
    if "ready" in said:
        _show_ready(record, said["ready"])


def _show_ready(record: NodeRecord, row: dict[str, Any]) -> None:
    names = ", ".join(safe(str(name)) for name in row["nodes"])
    print(f"{safe(str(row['name']))} answers at {safe(str(row['url']))}; nodes: {names}", flush=True)
    if others := [version for version in row["versions"] if version != __version__]:
        _print(f"Warning: this is Corral {__version__}; other nodes have {', '.join(map(str, others))}")
    if record.is_head:
        print(
            f"Another machine joins with the cluster key, ~/.{PROGRAM}/cluster.key, copied there, and\n"
            f"  {PROGRAM} cluster join {record.head}",
            flush=True,
        )
    if not record.is_guest and not record.address.startswith("127."):
        ports = f"{record.head_port} and {record.ports}" if record.is_head else record.ports
        _print(
            f"Ray listens on its ports ({ports}) on every interface, for all that have its token: let a firewall"
            " close them to all but the other machines."
        )


def _print(text: str) -> None:
    print(text, file=sys.stderr)
