"""`cluster stop` and `cluster leave`: end the server and the Ray node of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress

from corral.cli.frame.flags import PROGRAM, Arguments
from corral.cluster.ray.command import ray_folder
from corral.cluster.ray.keeper import ask, end_left_over, environment_for
from corral.cluster.ray.library import RayError
from corral.cluster.ray.record import NodeRecord, RecordError, cluster_folder
from corral.cluster.ray.single import holder, wait_until_free
from corral.homefolder import home_folder

# The server's own time for streams, and what Ray takes.
_END_S = 300.0


def leave(arguments: Arguments) -> int:
    """End what runs here; `leave` forgets it too, so that nothing of the cluster is left but its key.

    Raises:
        CorralError
    """
    record = NodeRecord.read(cluster_folder(home_folder()))
    if record.is_guest:
        ask(record, environment_for(record), "down")
    elif pid := holder(record.lock):
        _end_keeper(record, pid)
    elif holder(record.ray_lock):
        end_left_over(record)
    elif arguments.words[0] == "stop":
        raise RayError(
            "no node of a Ray cluster runs on this machine", hint=f"{PROGRAM} cluster start or join"
        )
    if arguments.words[0] == "leave":
        if record.is_head:
            shutil.rmtree(record.folder / "gcs", ignore_errors=True)
        if not record.is_guest:
            shutil.rmtree(ray_folder(record.folder), ignore_errors=True)
        record.table.unlink(missing_ok=True)
        record.remove()
    print(f"{record.name} has left the cluster at {record.head}")
    return 0


def _end_keeper(record: NodeRecord, pid: int) -> None:
    print("Ending the server; answers under way may take half a minute ...", file=sys.stderr)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not wait_until_free(record.lock, _END_S):
        raise RayError(
            f"the node (process {pid}) does not end", hint=f"see {record.log}; kill -9 -- -{pid} ends it"
        )


def forget(name: str) -> bool:
    """Take a node out of the table too, and end its server; False if this machine belongs to no Ray cluster.

    Raises:
        CorralError
    """
    try:
        record = NodeRecord.read(cluster_folder(home_folder()))
    except RecordError:
        return False
    ask(record, environment_for(record), "forget", name)
    return True
