"""What is done with a child between its start and its first request, and at its end."""

from __future__ import annotations

import logging

from corral.errors import RunnerStartError
from corral.runner.interface import Runner

_log = logging.getLogger("corral.scheduler")


async def check_devices(runner: Runner) -> None:
    """Refuse a model that must be on GPUs and is not.

    Raises:
        RunnerStartError: layers are on the processor; the child is closed.
    """
    load = runner.facts.load
    if runner.spec.must_be_on_gpus and load is not None and load.offloaded < load.layer_count:
        await close(runner)
        raise RunnerStartError(
            f"insufficient memory on GPUs: only {load.offloaded} of {load.layer_count} layers are there, and"
            " device_policy is require_gpu"
        )


async def close(runner: Runner) -> None:
    """Close a runner. One that cannot be closed must not hold up the others, so an error is only logged."""
    try:
        await runner.close()
    except Exception:
        _log.exception("closing failed model=%s", runner.spec.name)
