"""Keeps a Ray node on this machine: starts Ray, has the server started in it, and starts both again when Ray ends.

`python -m corral.cluster.ray.keeper FOLDER` runs until SIGTERM. It writes lines of JSON on standard output: `step` is
what it does, `ready` is the node's row once its server answers, `error` and `hint` why the first start failed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from corral.cluster.ray.backoff import Backoff
from corral.cluster.ray.command import clean_ray_folder, ray_command
from corral.cluster.ray.environment import ray_environment
from corral.cluster.ray.failures import SlowStartError, explain, explain_early, unexplained
from corral.cluster.ray.launch import launched
from corral.cluster.ray.library import RayError
from corral.cluster.ray.logfile import bound_log, open_log, tail
from corral.cluster.ray.reaching import check_reach
from corral.cluster.ray.record import NodeRecord
from corral.cluster.ray.single import end_holder, holder, take, wait_until_free
from corral.errors import CorralError

_LOOK_S = 0.2
_START_S = 180.0
_FIRST_TRIES = 3
_ASK_S = 240.0
# Ray drains its node for 30 s when it is asked to end; without its actors there is nothing to drain.
_RAY_END_S = 8.0
_STARTED = "Ray runtime started."
_TAIL_LINES = 400
_log = logging.getLogger("corral")


class Keeper:
    """One Ray node and the server in it. `tell` gets each step; times in seconds."""

    def __init__(self, record: NodeRecord, tell: Callable[[dict[str, Any]], None]) -> None:
        self._record = record
        self._tell = tell
        self._stopping = threading.Event()
        self._backoff = Backoff()
        storage = record.folder / "gcs" if record.is_head else None
        self._environment = {**ray_environment(record.token_path, storage), **record.variables}
        self._ray: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()

    def run(self) -> None:
        """Start, and start again, until `stop`.

        Raises:
            CorralError: the first start fails; one that is only slow is tried again.
        """
        tries = _FIRST_TRIES
        while not self._stopping.is_set():
            begin_s = time.monotonic()
            try:
                self._once()
                tries = 0
            except CorralError as error:
                tries -= 1
                if tries == 0 or (tries > 0 and not isinstance(error, SlowStartError)):
                    self._leave()
                    raise
                _log.warning("the Ray node did not start: %s", error)
            self._stopping.wait(self._backoff.after(time.monotonic() - begin_s))
        self._leave()

    def _once(self) -> None:
        """From the start of Ray to its end."""
        self._end_ray()
        self._start_ray()
        if self._stopping.is_set():
            return
        self._tell({"step": "Starting the server ..."})
        self._tell({"ready": ask(self._record, self._environment, "up")})
        assert self._ray is not None
        while self._ray.poll() is None and not self._stopping.wait(_LOOK_S):
            bound_log(self._record.log)
        if not self._stopping.is_set():
            _log.warning("Ray ended with status %s; starting it again", self._ray.returncode)

    def _start_ray(self) -> None:
        """Raises RayError."""
        end_left_over(self._record)
        check_reach(self._record)
        clean_ray_folder(self._record.folder)
        self._tell({"step": f"Starting Ray on {self._record.address} ..."})
        log = open_log(self._record.log)
        since = os.fstat(log).st_size
        try:
            self._ray = subprocess.Popen(
                # So Ray ends with the keeper too.
                launched(self._record.ray_lock, ray_command(self._record)),
                env={**self._environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)
        self._wait_for_ray(self._ray, since)

    def _wait_for_ray(self, process: subprocess.Popen[bytes], since: int) -> None:
        deadline_s = time.monotonic() + _START_S
        while not self._stopping.wait(_LOOK_S):
            has_ended = process.poll() is not None
            output = tail(self._record.log, _TAIL_LINES, since)
            if _STARTED in output:
                return
            if (known := explain_early(output, self._record.head)) is None:
                if not has_ended and time.monotonic() < deadline_s:
                    continue
                known = explain(output, self._record.head) or unexplained(output)
            self._end_ray()
            raise known

    def _leave(self) -> None:
        """End the server, then Ray."""
        if self._ray is not None and self._ray.poll() is None:
            try:
                ask(self._record, self._environment, "down")
            except CorralError as error:
                _log.warning("the server did not end by itself: %s", error)
        self._end_ray()

    def _end_ray(self) -> None:
        """All of Ray's processes of this node, in the group of the first."""
        if self._ray is None:
            return
        self._ray.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._ray.wait(_RAY_END_S)
        with suppress(ProcessLookupError):
            os.killpg(self._ray.pid, signal.SIGKILL)
        self._ray.wait()
        self._ray = None


def end_left_over(record: NodeRecord) -> None:
    """End the processes of Ray that a keeper has left which was killed itself."""
    pid = holder(record.ray_lock)
    if not pid:
        return
    end_holder(record.ray_lock, signal.SIGTERM)
    wait_until_free(record.ray_lock, _RAY_END_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    wait_until_free(record.ray_lock, _RAY_END_S)


def environment_for(record: NodeRecord) -> dict[str, str]:
    """What leads to the Ray of a node."""
    if not record.is_guest:
        return ray_environment(record.token_path)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": record.token_file} if record.token_file else {}
    return {**ray_environment(None), **token}


def ask(record: NodeRecord, environment: dict[str, str], *words: str) -> dict[str, Any]:
    """Run bootstrap.py.

    Raises:
        RayError
    """
    program = [sys.executable, "-m", "corral.cluster.ray.bootstrap", str(record.folder), *words]
    log = open_log(record.log)
    try:
        done = subprocess.run(
            program,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            timeout=_ASK_S,
            check=False,
            start_new_session=True,  # Ctrl-C is for the keeper
        )
    except subprocess.TimeoutExpired:
        raise RayError(
            f"the Ray cluster at {record.head} does not answer", hint=f"see {record.log}"
        ) from None
    finally:
        os.close(log)
    try:
        answer: Any = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise RayError(f"asking Ray ended with status {done.returncode}", hint=f"see {record.log}") from None
    if "error" in answer:
        raise RayError(answer["error"], hint=answer["hint"])
    return dict(answer)


def _say(values: dict[str, Any]) -> None:
    with suppress(OSError, ValueError):  # whoever started it reads only until it is ready
        print(json.dumps(values), flush=True)


def main(folder: Path, tell: Callable[[dict[str, Any]], None] = _say) -> int:
    """Keep the node of a record until a signal comes."""
    record = NodeRecord.read(folder)
    if take(record.lock) < 0:
        tell({"error": "a Ray node runs on this machine already", "hint": "corral cluster leave"})
        return 1
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    keeper = Keeper(record, tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: keeper.stop())
    try:
        keeper.run()
    except CorralError as error:
        tell({"error": str(error), "hint": error.hint})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
