"""The command that starts Ray's processes on a machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from corral.cluster.ray.record import NodeRecord
from corral.errors import CorralError

# A socket's path has at most 107 bytes (103 on macOS), of which Ray adds 66 to its folder.
_LONGEST_FOLDER = 36
_OBJECT_STORE_BYTES = 78_643_200  # the smallest that Ray takes; nothing large goes through it
_KEPT_SESSIONS = 3


def ray_command(record: NodeRecord) -> list[str]:
    """`ray start` for a node, in the foreground; it ends when a process of Ray does."""
    place = (
        # The monitor starts machines in clouds, and listens on a port that only a variable changes.
        ["--head", f"--port={record.head_port}", "--include-dashboard=false", "--no-monitor"]
        if record.is_head
        else [f"--address={record.head}"]
    )
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", *place),
        "--block",
        f"--node-ip-address={record.address}",
        f"--node-name={record.name}",
        *record.plan().arguments(),
        "--include-log-monitor=false",
        "--disable-usage-stats",
        "--num-cpus=0",
        "--num-gpus=0",
        f"--resources={json.dumps(dict(record.resources))}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={ray_folder(record.folder)}",
    ]


def ray_folder(folder: Path) -> Path:
    """Where Ray keeps sockets and logs of this node, apart from other Rays of the machine.

    Raises:
        CorralError: somebody else has made the folder.
    """
    found = folder / "ray"
    if len(os.fsencode(found)) > _LONGEST_FOLDER:
        mark = hashlib.blake2b(os.fsencode(folder), digest_size=5).hexdigest()
        private = Path(tempfile.gettempdir()) / f"corral-{os.getuid()}-{mark}"
        if len(os.fsencode(private)) > _LONGEST_FOLDER - 2:
            private = Path("/tmp") / private.name
        _make_private(private)
        found = private / "r"
    # Ray opens its folder to everybody, so the one above is closed.
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if (
        status.st_uid != os.getuid()
        or not stat.S_ISDIR(status.st_mode)
        or stat.S_IMODE(status.st_mode) & 0o077
    ):
        raise CorralError(
            f"{folder} belongs to somebody else", hint="remove it, or set TMPDIR to another folder"
        )


def clean_ray_folder(folder: Path) -> None:
    """Take out what ended Rays have left: the address of the last one, and all sessions but the newest."""
    root = ray_folder(folder)
    # With it, Ray refuses to start a head whose port a node of this machine still knows.
    (root / "ray_current_cluster").unlink(missing_ok=True)
    sessions = sorted(path for path in root.glob("session_2*") if path.is_dir() and not path.is_symlink())
    for path in sessions[:-_KEPT_SESSIONS]:
        with suppress(OSError):
            shutil.rmtree(path)
