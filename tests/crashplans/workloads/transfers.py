"""Pulls from a registry, in parts: the blob of weights comes in four of them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import replace
from functools import cache
from pathlib import Path

from corral.config import Settings
from corral.library.create.service import Creator
from corral.library.pull import Puller
from corral.names import ModelName
from corral.registry import part_state
from corral.registry.request import TransferRequest
from corral.store.models import ModelStore
from tests.crashplans.workload import Workload
from tests.crashplans.workloads.models_folder import StoreStep, quiet, store_workload
from tests.doubles.odd_registry import OddRegistry
from tests.doubles.real_registry import manifest_of

_PART_BYTES = 20_000
_WEIGHTS = random.Random(1).randbytes(3 * _PART_BYTES + 5000)
_CONFIG = b'{"model_format":"gguf","model_family":"llama"}'
_VERSIONS = {text: {"model": _WEIGHTS, "system": text.encode()} for text in ("First.", "Second.")}


@cache
def registry() -> str:
    """The address of a registry in a process of its own, which ends with this one."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _serve(writer)
    os.close(writer)
    return os.read(reader, 100).decode()


def _serve(writer: int) -> None:
    parent = os.getppid()
    served = OddRegistry()
    for text, layers in _VERSIONS.items():
        for data in (*layers.values(), _CONFIG):
            served.put(data)
        served.manifests[f"/v2/lib/{text.lower().strip('.')}/manifests/latest"] = manifest_of(layers, _CONFIG)
    os.write(writer, served.host.encode())
    os.close(writer)
    while os.getppid() == parent:
        signal.sigtimedwait([], 1)
    os._exit(0)


def _pull(host: str, text: str) -> StoreStep:
    name = ModelName.parse(f"{host}/lib/{text.lower().strip('.')}")

    def do(store: ModelStore, root: Path) -> None:
        part_state._MIN_PART_BYTES = _PART_BYTES
        # One stream, so that the calls come in the same order each time.
        settings = Settings(models_dir=root / "models", transfer_streams=1, pull_retry_delay_ns=1_000_000)
        puller = Puller(settings, store, Creator(store, may_prune=True))

        async def pull() -> None:
            try:
                await puller.pull(name, quiet, TransferRequest(is_insecure=True))
            finally:
                await puller.close()

        asyncio.run(pull())

    return StoreStep(f"pull {text}", do, {name.short(): text})


def _another_boot() -> None:
    """The machine was restarted: what files say of data that was not synced is not believed."""
    part_state.boot_id = lambda: "another boot"  # type: ignore[assignment]


def workloads() -> tuple[Workload, ...]:
    """Needs a registry, which is started."""
    host = registry()
    steps = (_pull(host, "First."), _pull(host, "Second."))
    return (replace(store_workload("pull", steps), after_power=_another_boot),)
