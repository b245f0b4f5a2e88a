"""`doctor` on machines that are well and on machines that are not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral import __version__
from corral.cli.doctor.machine_checks import check_environment, check_proxies, missing_features
from corral.cli.doctor.store_checks import Finding, check_key, check_store
from corral.registry.key import ensure_key
from tests.cli.replay import Replay
from tests.cli.screen import Screen
from tests.conftest import PLAIN_TEMPLATE, Server
from tests.ports import free_port


def doctor(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "doctor", *words],
        env={**env, "CORRAL_HOME": env["HOME"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def findings(env: dict[str, str]) -> tuple[bool, dict[str, list[dict[str, Any]]]]:
    result = doctor(env, "--json")
    report = json.loads(result.stdout)
    assert result.returncode == (0 if report["ok"] else 1)
    assert all(entry["advice"] for entry in report["checks"] if entry["level"] != "ok")
    by_check: dict[str, list[dict[str, Any]]] = {}
    for entry in report["checks"]:
        by_check.setdefault(entry["check"], []).append(entry)
    return report["ok"], by_check


@pytest.fixture
def well(start_server: Callable[..., Server]) -> Server:
    """A server with one model."""
    server = start_server()
    server.create("m", "say", template=PLAIN_TEMPLATE)
    for name in [name for name in server.env if name.lower().endswith("_proxy")]:
        del server.env[name]
    return server


def test_a_sound_machine(well: Server) -> None:
    """Nothing fails; every part was looked at; people get lines."""
    is_ok, checks = findings(well.env)
    assert is_ok, checks
    assert set(checks) >= {
        *("server", "store", "disk", "manifests", "blobs", "leftovers"),
        *("memory", "engine", "proxies", "variables", "key"),
    }  # fmt: skip
    assert checks["server"][0]["text"] == f"{well.base}: Corral {__version__}"
    assert "models: 1," in checks["store"][0]["text"]
    lines = doctor(well.env).stdout.splitlines()
    assert lines[0] == f"ok    server     {well.base}: Corral {__version__}"
    assert lines[-1].startswith("no failures")


def test_another_folder(well: Server, tmp_path: Path, terminal: Callable[..., Screen]) -> None:
    """A shell without the server's variables looks at the wrong folder, and is told; lines fit a narrow terminal."""
    env = {**well.env, "OLLAMA_MODELS": str(tmp_path / "other"), "CORRAL_HOME": str(tmp_path)}
    is_ok, checks = findings(env)
    assert is_ok
    assert "(m:latest): it uses another folder" in checks["store"][-1]["text"]
    screen = terminal(env, "doctor", columns=110, lines=50)
    assert screen.wait_for_end() == 0
    lines = screen.text.splitlines()
    assert all(line.startswith(("ok ", "warn ", " " * 17, "no ")) for line in lines if line), screen.text


def test_a_damaged_store(well: Server) -> None:
    """What is missing, cut, unreadable or left over is told by name, and nothing is changed."""
    store = well.folder
    well.request("POST", "/api/copy", {"source": "m", "destination": "cut"})
    (blob,) = [path for path in (store / "blobs").iterdir() if path.stat().st_size > 10_000]
    blob.write_bytes(blob.read_bytes()[:-1])
    library = store / "manifests" / "registry.ollama.ai" / "library"
    (library / "bad").mkdir()
    (library / "bad" / "latest").write_text("{")
    (store / "blobs" / f"sha256-{'a' * 64}-partial").write_bytes(b"x" * 5000)
    before = sorted(path for path in store.rglob("*"))
    levels = {f.check: f for f in check_store(store)}
    assert levels["manifests"].level == "fail"
    assert "bad:latest" in levels["manifests"].text
    assert levels["blobs"].level == "fail"
    assert "cut:latest" in levels["blobs"].text
    assert "instead of" in levels["blobs"].text
    (library / "bad" / "latest").unlink()
    blob.unlink()
    (store / "blobs" / f"sha256-{'b' * 64}").write_bytes(b"x" * 70)
    found = {f.check: f for f in check_store(store)}
    assert "is missing" in found["blobs"].text
    assert found["downloads"].text.startswith("1 interrupted downloads")
    assert found["leftovers"].text == "1 unreferenced files, 70 B"
    assert set(before) - {*store.rglob("*")} == {blob, library / "bad" / "latest"}
    assert findings(well.env)[0] is False


def test_folders_that_are_none(tmp_path: Path) -> None:
    """A file, and a place that nobody may write to."""
    (tmp_path / "file").touch()
    assert [f.level for f in check_store(tmp_path / "file")] == ["fail"]
    (only,) = check_store(tmp_path / "new" / "models")
    assert only.level in ("ok", "warn")  # warn: this machine has a service of the original
    if os.geteuid() != 0:  # the superuser may write anywhere
        (tmp_path / "shut").mkdir(mode=0o500)
        assert [f.level for f in check_store(tmp_path / "shut")] == ["fail"]


@pytest.fixture
def listener() -> Iterator[Callable[[bytes], int]]:
    """Servers that answer every connection with the same bytes; none at all: they keep quiet."""
    sockets: list[socket.socket] = []

    def listen(answer: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                sockets.append(connection)
                if answer:
                    connection.recv(1000)
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return int(server.getsockname()[1])

    yield listen
    for each in sockets:
        each.close()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"SSH-2.0-x\r\n\r\n", "is answered by another program"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "is answered by another program"),
        (b"", "does not answer within 5 seconds"),
    ],
)
def test_others_on_the_port(
    replay: Callable[..., Replay], listener: Callable[[bytes], int], answer: bytes, text: str
) -> None:
    """Something else has it, or the server hangs."""
    env = {**replay([]).env, "OLLAMA_HOST": f"127.0.0.1:{listener(answer)}"}
    is_ok, checks = findings(env)
    assert not is_ok
    assert text in checks["server"][0]["text"]


def test_no_server_and_an_original_one(replay: Callable[..., Replay]) -> None:
    """How to start one; one of the original is fine."""
    double = replay()
    port = free_port()
    is_ok, checks = findings({**double.env, "OLLAMA_HOST": f"127.0.0.1:{port}"})
    assert not is_ok
    assert checks["server"][0]["advice"] == "start it: corral serve"
    assert checks["port"][0]["text"] == f"{port} is free"
    _, checks = findings(double.env)
    assert checks["server"][0]["level"] == "ok"
    assert "Ollama" in checks["server"][0]["text"]


def by_level(found: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in found]


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that catches localhost is warned of; its password is not shown."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    url = "https://registry.ollama.ai"
    assert by_level(check_proxies({}, url)) == [("ok", "none")]
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy:3128")
    told = by_level(check_proxies(dict(os.environ), url))
    assert [level for level, _ in told] == ["ok", "warn"]
    assert "through http://***@proxy:3128" in told[0][1]
    monkeypatch.setenv("no_proxy", "localhost, 127.0.0.1")
    assert [level for level, _ in by_level(check_proxies(dict(os.environ), url))] == ["ok"]
    monkeypatch.setenv("https_proxy", "socks4://proxy")
    assert [level for level, _ in by_level(check_proxies(dict(os.environ), url))] == ["fail"]


def test_variables() -> None:
    """Those of the server and of the clients have a meaning; others, and values that make no sense, are told."""
    known = {"OLLAMA_HOST": "x", "OLLAMA_API_KEY": "k", "CORRAL_AUTOSERVE": "1", "OLLAMA_NOHISTORY": "1"}
    assert by_level(check_environment(known))[0][0] == "ok"
    told = by_level(check_environment({"OLLAMA_TYPO": "1", "OLLAMA_MAX_QUEUE": "many"}))
    assert [level for level, _ in told] == ["warn", "warn"]
    assert by_level(check_environment({"OLLAMA_ORIGINS": "nonsense"}))[0][0] == "fail"


def test_key(tmp_path: Path) -> None:
    """Not there, sound, open to others, broken."""
    path = tmp_path / "id_ed25519"
    assert check_key(path).level == "ok"
    ensure_key(path)
    assert check_key(path).level == "ok"
    path.chmod(0o644)
    assert check_key(path).advice == f"chmod 600 {path}"
    path.write_text("no key")
    assert check_key(path).level == "fail"


def test_features() -> None:
    """What the CPU has and the build does not use, whatever the build says of itself."""
    engine = "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | "
    assert missing_features({"avx2", "avx512f", "avx512_vnni"}, engine) == ["AVX512", "AVX512_VNNI"]
    assert missing_features({"avx512f"}, "CPU : AVX512 = 1 | REPACK = 1") == []
    assert missing_features({"avx512f"}, "CUDA : X = 1 | CPU : AVX512 = 1") == []
    assert missing_features(set(), "") == []
