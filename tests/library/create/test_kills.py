"""Creates that are cut short at any point leave a clean store, and the next one works."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.store.models import ModelStore
from corral.store.prune import prepare_store
from tests.conftest import FIXTURES, Server
from tests.doubles.sentence_model import model_files

pytestmark = pytest.mark.process

DEADLINE_S = 60.0
CREATE = """
import asyncio, hashlib, os, signal, sys
from pathlib import Path
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.store.models import ModelStore

folder, fixture, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
count = 0
for name in ("replace", "unlink", "rmdir"):
    original = getattr(os, name)
    def counted(*args, original=original, **kwargs):
        global count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(os, name, counted)

async def quiet(event):
    pass

store = ModelStore(folder)
digest = "sha256:" + hashlib.sha256(fixture.read_bytes()).hexdigest()
request = CreateRequest(model="m", files={"m.gguf": digest}, system="s", parameters={"seed": 1}, license="MIT")
asyncio.run(Creator(store, may_prune=True).create(request, quiet))
print(count)
"""


def wait_for(condition: Callable[[], Any]) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.001)
    raise AssertionError(f"nothing came of it: {condition()!r}")


def workers(server: Server) -> list[int]:
    """Worker processes of a server. From /proc: a small model is done before `pgrep` has looked."""
    found = []
    for children in Path(f"/proc/{server.process.pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in children.read_text().split()]
    return [pid for pid in found if b"corral.library.create.worker" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def stop_worker(server: Server) -> int:
    """Hold the worker in the middle of its work, as soon as there is one."""
    (pid,) = wait_for(lambda: workers(server))
    os.kill(pid, signal.SIGSTOP)
    return int(pid)


def in_background(server: Server, path: str, body: Any) -> threading.Thread:
    def ask() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.request("POST", path, body)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def leftovers(models: Path) -> list[str]:
    """What is in the store beside sound blobs and manifests."""
    names = [path.name for path in (models / "blobs").iterdir() if len(path.name) != len("sha256-") + 64]
    return names + [path.name for path in (models / "manifests").rglob(".*")]


def orders(server: Server) -> dict[str, dict[str, Any]]:
    wide = server.upload(FIXTURES / "wide-f16.gguf")
    split = {f"t-0000{i}-of-00002.gguf": server.upload(FIXTURES / f"split-{i}.gguf") for i in (1, 2)}
    return {
        "quantize": {"files": {"w.gguf": wide}, "quantize": "Q4_K_M"},
        "merge": {"files": split},
        "convert": {"files": {name: server.upload(path) for name, path in model_files().items()}},
    }


@pytest.mark.parametrize("work", ["quantize", "merge", "convert"])
def test_kill_the_server_while_it_works(
    start_server: Callable[..., Server], tmp_path: Path, work: str
) -> None:
    """SIGKILL of the server ends its worker; the next start finds a clean store, and the create works."""
    server = start_server(OLLAMA_MODELS=str(tmp_path))
    body = {"model": "m", "system": "text", **orders(server)[work]}
    uploads = {path.name for path in (tmp_path / "blobs").iterdir()}
    thread = in_background(server, "/api/create", body)
    worker = stop_worker(server)
    server.process.kill()
    server.process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGCONT)
    thread.join()
    wait_for(lambda: not is_running(worker))
    assert leftovers(tmp_path), "the kill came in the middle"
    again = start_server(OLLAMA_MODELS=str(tmp_path))
    wait_for(lambda: not leftovers(tmp_path))
    assert {path.name for path in (tmp_path / "blobs").iterdir()} == uploads
    assert again.stream("/api/create", body)[-1] == {"status": "success"}


def test_the_client_leaves(start_server: Callable[..., Server]) -> None:
    """A create that nobody waits for ends at once, with all that it made."""
    server = start_server()
    body = json.dumps({"model": "m", **orders(server)["quantize"]}).encode()
    uploads = {path.name for path in (server.folder / "blobs").iterdir()}
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"POST /api/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        worker = stop_worker(server)
    wait_for(lambda: not is_running(worker))
    wait_for(lambda: {path.name for path in (server.folder / "blobs").iterdir()} == uploads)


def test_the_server_is_stopped(start_server: Callable[..., Server]) -> None:
    """SIGTERM does not wait for a conversion, and leaves nothing either."""
    server = start_server()
    body = {"model": "m", **orders(server)["quantize"]}
    thread = in_background(server, "/api/create", body)
    worker = stop_worker(server)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(DEADLINE_S)
    thread.join()
    wait_for(lambda: not is_running(worker))
    assert not leftovers(server.folder)


def test_kill_while_a_blob_is_uploaded(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Half an upload is gone after the next start."""
    server = start_server(OLLAMA_MODELS=str(tmp_path))
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /api/blobs/sha256:{'a' * 64} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n"
        connection.sendall(head.encode() + bytes(4_000_000))
        wait_for(lambda: (tmp_path / "blobs").is_dir() and leftovers(tmp_path))
        server.process.kill()
        server.process.wait()
    assert leftovers(tmp_path)
    start_server(OLLAMA_MODELS=str(tmp_path))
    wait_for(lambda: not leftovers(tmp_path))


def test_an_upload_that_cannot_fit(start_server: Callable[..., Server]) -> None:
    """Space is looked at before anything is received."""
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /api/blobs/sha256:{'a' * 64} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 45}\r\n\r\n"
        connection.sendall(head.encode())
        answer = b""
        while b"}" not in answer and (data := connection.recv(4096)):
            answer += data
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"not enough space" in answer


def test_kill_at_every_change_of_the_store(tmp_path: Path) -> None:
    """SIGKILL before each rename and removal of a create, the manifest's among them."""
    fixture = FIXTURES / "say.gguf"
    digest = hashlib.sha256(fixture.read_bytes()).hexdigest()
    points = 0
    for kill_at in range(1, 40):
        models = tmp_path / str(kill_at)
        (models / "blobs").mkdir(parents=True)
        blob = models / "blobs" / f"sha256-{digest}"
        blob.write_bytes(fixture.read_bytes())
        store = ModelStore(models)

        def run(at: int, models: Path = models) -> subprocess.CompletedProcess[bytes]:
            command = [sys.executable, "-c", CREATE, str(models), str(fixture), str(at)]
            return subprocess.run(command, capture_output=True, check=False, timeout=DEADLINE_S)

        done = run(kill_at)
        if done.returncode == 0:
            points = kill_at - 1
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        prepare_store(store, may_prune=True)
        assert leftovers(models) == [] if (models / "manifests").exists() else True
        used = {d for stored in store.manifests.stored() for d in stored.manifest.digests()}
        names = {path.name for path in (models / "blobs").iterdir()}
        assert names == {d.file_name() for d in used} | {blob.name}
        assert run(0).returncode == 0
        (model,) = store.list()
        assert model.system == "s"
    assert points >= 5
