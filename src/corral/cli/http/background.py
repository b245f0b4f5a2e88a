"""Starts `corral serve` in the background, for `run --serve` and `CORRAL_AUTOSERVE`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from corral.cli.frame.flags import PROGRAM
from corral.cli.http.client import Client, NoServerError
from corral.errors import CorralError

_READY_TIMEOUT_S = 30.0
_POLL_S = 0.05
_SHOWN_LOG_LINES = 5


def start_server(client: Client) -> None:
    """Start a server that outlives this program, and return when it is ready. Its log goes to a file.

    Raises:
        CorralError: the address is not local, or the server ended or did not become ready in time.
    """
    if not client.address.is_loopback:
        raise CorralError(
            f"no server answers at {client.address.url()}, and a server can only be started on this machine",
            hint="set OLLAMA_HOST to a local address, or unset it",
        )
    log = Path.home() / ".ollama" / "logs" / f"{PROGRAM}-serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        start = out.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "corral.cli.main", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    if not _wait_until_ready(client, child):
        ended = child.poll()
        if ended is None:
            child.terminate()
            child.wait()
        with log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").splitlines()
        what = f"ended with status {ended}" if ended is not None else "did not become ready in time"
        raise CorralError(f"the server {what}", hint="\n".join([*lines[-_SHOWN_LOG_LINES:], f"log: {log}"]))
    print(f"started a server (process {child.pid}, log {log})", file=sys.stderr)


def _wait_until_ready(client: Client, child: subprocess.Popen[bytes]) -> bool:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline_s and child.poll() is None:
        try:
            client.check()
        except NoServerError:
            time.sleep(_POLL_S)
        else:
            return True
    return False
