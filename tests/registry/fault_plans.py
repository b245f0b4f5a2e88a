"""Plays a pull against a registry full of faults, with kill -9 of the server at random moments.

What must hold, whatever happens: a pull ends with `success` or with an error line, in bounded time; a blob under
its own name is right, always; when the faults are over, the next pull succeeds; bytes that the files on disk call
complete when a server is killed are not asked for again.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import Server
from tests.doubles.faulty_registry import Content

DOUBLE = Path(__file__).parent.parent / "doubles" / "faulty_registry.py"
MAX_PULLS = 40
# Of one pull, however bad the line: the double's own patience is 20 s a fault.
PULL_DEADLINE_S = 150.0
# A reply with wrong bytes in it makes what is complete wrong: it has to be fetched again.
CORRUPTING = frozenset({"flip", "endless", "wrong range", "wrong total", "200", "long", "gzip", "short"})


@dataclass
class Outcome:
    """What a plan led to; `problems` are broken promises."""

    seed: int
    is_poisoned: bool
    pulls: int = 0
    kills: int = 0
    errors: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_complete: bool = False
    blob_bytes_asked: int = 0
    # What the files on disk called complete after kills, and was checked not to be asked for again.
    kept_bytes: int = 0


@contextlib.contextmanager
def _registry(seed: int, log: Path, faults: int, *, is_poisoned: bool) -> Iterator[int]:
    command = [sys.executable, str(DOUBLE), str(seed), str(log), "--faults", str(faults)]
    process = subprocess.Popen(
        command + ["--poison"] * is_poisoned, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _requests(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _complete_spans(blobs: Path) -> list[tuple[str, int, int]]:
    """Digest, first byte and end of what the part files on disk call complete."""
    spans = []
    for path in blobs.glob("sha256-*-partial-*"):
        with contextlib.suppress(ValueError):
            part = json.loads(path.read_text())
            digest = "sha256:" + path.name[7:71]
            spans.append((digest, part["Offset"], part["Offset"] + part["Completed"]))
    return spans


def _wrong_blobs(blobs: Path) -> list[str]:
    """Blobs under their own name whose content is another's."""
    return [
        path.name
        for path in blobs.glob("sha256-*")
        if len(path.name) == 71 and hashlib.sha256(path.read_bytes()).hexdigest() != path.name[7:]
    ]


def _pull(server: Server, name: str, kill_after_s: float | None) -> list[dict[str, Any]]:
    """The lines of a pull; with `kill_after_s` the server is killed then, and the lines end there."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PULL_DEADLINE_S)
    lines = []
    started_s = time.monotonic()
    try:
        connection.request("POST", "/api/pull", json.dumps({"model": name, "insecure": True}))
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            server.process.kill()
            server.process.wait()
        response = connection.getresponse()
        while line := response.readline():
            lines.append(json.loads(line))
            if time.monotonic() - started_s > PULL_DEADLINE_S:
                raise TimeoutError("a pull does not end")
    except (http.client.HTTPException, ConnectionError, ValueError):
        if kill_after_s is None:
            raise
    finally:
        connection.close()
    return lines


def _start(folder: Path) -> Server:
    return Server(
        OLLAMA_MODELS=str(folder), CORRAL_PULL_STALL_TIMEOUT="1500ms", CORRAL_PULL_RETRY_DELAY="20ms"
    )


def play(seed: int, *, faults: int = 12) -> Outcome:
    """Play the plan of a seed to its end. Every tenth is poisoned: it can never succeed."""
    source = random.Random(f"plan {seed}")
    outcome = Outcome(seed, is_poisoned=seed % 10 == 9)
    with tempfile.TemporaryDirectory(prefix="corral-faults-") as name:
        folder, log = Path(name) / "models", Path(name) / "log"
        with _registry(seed, log, faults, is_poisoned=outcome.is_poisoned) as port:
            _play(outcome, source, port, folder, log)
        outcome.blob_bytes_asked = sum(entry["last"] - entry["first"] + 1 for entry in _requests(log))
    return outcome


def _play(outcome: Outcome, source: random.Random, port: int, folder: Path, log: Path) -> None:
    server = _start(folder)
    try:
        server = _pull_until_done(outcome, source, server, port, folder, log)
    finally:
        server.close()
    if not outcome.is_poisoned and not outcome.is_complete:
        outcome.problems.append(f"no success after {outcome.pulls} pulls: {outcome.errors[-1:]}")
    if outcome.is_complete:
        _check_store(outcome, folder, port)


def _pull_until_done(
    outcome: Outcome, source: random.Random, server: Server, port: int, folder: Path, log: Path
) -> Server:
    """Returns the server that runs at the end."""
    blobs, model = folder / "blobs", f"127.0.0.1:{port}/library/m"
    while outcome.pulls < MAX_PULLS and not outcome.is_complete:
        outcome.pulls += 1
        is_killed = outcome.kills < 4 and source.random() < 0.4
        seen = len(_requests(log))
        lines = _pull(server, model, source.uniform(0.0, 0.6) if is_killed else None)
        if is_killed:
            outcome.kills += 1
            spans, seen = _complete_spans(blobs), len(_requests(log))
            is_sound = not any(entry["fault"] in CORRUPTING for entry in _requests(log))
            server.close()
            server = _start(folder)
            lines = _pull(server, model, None)
            if is_sound:
                _check_not_asked_again(outcome, spans, _requests(log)[seen:])
        _check_end(outcome, lines)
        outcome.problems += [f"wrong blob {name}" for name in _wrong_blobs(blobs)]
        if outcome.is_poisoned and outcome.pulls >= 6:
            break
    return server


def _check_end(outcome: Outcome, lines: list[dict[str, Any]]) -> None:
    last = lines[-1] if lines else {}
    if last.get("status") == "success":
        outcome.is_complete = True
        if outcome.is_poisoned:
            outcome.problems.append("a poisoned blob was accepted")
    elif last.get("error"):
        outcome.errors.append(str(last["error"]))
    else:
        outcome.problems.append(f"a pull ended with {last}")
    told: dict[str, int] = {}
    for line in lines:
        if "digest" in line:
            if line.get("completed", 0) < told.get(line["digest"], 0):
                outcome.problems.append(f"progress went back: {line}")
            told[line["digest"]] = line.get("completed", 0)


def _check_not_asked_again(
    outcome: Outcome, spans: list[tuple[str, int, int]], requests: list[dict[str, Any]]
) -> None:
    if any(entry["fault"] in CORRUPTING for entry in requests):
        return
    outcome.kept_bytes += sum(end - first for _, first, end in spans)
    for entry in requests:
        for digest, first, end in spans:
            if entry["digest"] == digest and entry["first"] < end and entry["last"] >= first:
                outcome.problems.append(f"asked again for {first}-{end}: {entry}")


def _check_store(outcome: Outcome, folder: Path, port: int) -> None:
    content = Content(outcome.seed, is_poisoned=False)
    manifest = folder / "manifests" / f"127.0.0.1:{port}" / "library" / "m" / "latest"
    if not manifest.exists() or manifest.read_bytes() != content.manifest:
        outcome.problems.append("the manifest is not what the registry has")
    for digest in content.blobs:
        if not (folder / "blobs" / digest.replace(":", "-")).exists():
            outcome.problems.append(f"{digest} is missing after success")
    if left := sorted(path.name for path in (folder / "blobs").glob("*-partial*")):
        outcome.problems.append(f"left behind: {left}")
