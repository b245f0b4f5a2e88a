"""Corrals from other checkouts, started for the benchmark and stopped with it."""

from __future__ import annotations

import contextlib
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
