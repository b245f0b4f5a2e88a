"""Corrals from other checkouts and llama.cpp's own server, started for the benchmark and stopped with it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.duel.peers import Peer
from bench.duel.streams import PeerError
from bench.peers import Server


@contextlib.contextmanager
def corral(checkout: Path, store: Path | None, env: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Address and process of a Corral whose sources are in `checkout`.

    `store`: a model folder to share; without one it gets an empty folder that is deleted at the end. Raises PeerError
    if there are no sources or the server does not start.
    """
    sources = checkout.resolve() / "src"
    if not (sources / "corral").is_dir():
        raise PeerError(f"{checkout} is not a checkout of Corral")
    folder = {"OLLAMA_MODELS": str(store.resolve())} if store else {}
    try:
        server = Server(PYTHONPATH=str(sources), **folder, **env)
    except RuntimeError as e:
        raise PeerError(f"{checkout}: {e}") from e
    try:
        yield f"http://127.0.0.1:{server.port}", server.pid
    finally:
        server.close()


def pull_missing(peer: Peer, models: Sequence[str]) -> None:
    """Pull the models that the server does not have. Raises PeerError."""
    found = {entry["name"].removesuffix(":latest") for entry in peer.call("GET", "/api/tags")["models"]}
    for model in models:
        if model and model.removesuffix(":latest") not in found:
            peer.call("POST", "/api/pull", {"model": model, "stream": False})


# What `llama-server` does without flags, where the wheel's own defaults differ: four slots that share the memory.
_ENGINE = """
import json, sys, threading, xllamacpp
order = json.loads(sys.argv[1])
p = xllamacpp.CommonParams()
p.model.path, p.port, p.n_ctx = order["file"], order["port"], order["num_ctx"]
p.model_alias = {order["alias"]}
p.n_parallel, p.kv_unified, p.ui, p.verbosity = 4, True, False, 1
server = xllamacpp.Server(p)
threading.Event().wait()
"""
_ENGINE_START_S = 300.0


@contextlib.contextmanager
def engine(file: Path, alias: str, num_ctx: int) -> Iterator[tuple[str, int]]:
    """Address and process of llama.cpp's server with its own defaults, from the wheel in this environment.

    `num_ctx`: tokens of context, 0 for what the model has. Raises PeerError if it does not come up.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    order = json.dumps({"file": str(file.resolve()), "port": port, "num_ctx": num_ctx, "alias": alias})
    process = subprocess.Popen(
        [sys.executable, "-c", _ENGINE, order], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline_s = time.monotonic() + _ENGINE_START_S
        while not _is_healthy(url):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise PeerError(f"llama.cpp's server does not start with {file}")
            time.sleep(0.05)
        yield url, process.pid
    finally:
        process.kill()
        process.wait()


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
