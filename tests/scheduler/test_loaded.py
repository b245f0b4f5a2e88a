"""A runner as it is shown and counted: as predicted until the engine says where the model is, then as that says."""

from __future__ import annotations

from typing import Any

import pytest

from corral.gpus import GPU
from corral.runner.interface import DeviceMemory, LoadReport
from corral.scheduler.loaded import LoadedRunner, Phase, clamp_keep_alive
from corral.scheduler.placement import plan_load
from corral.scheduler.spec import FOREVER_NS, SchedulerConfig
from tests.scheduler.test_split import card, machine, wish

CONFIG = SchedulerConfig(num_parallel=1)


def runner(*gpus: GPU, load: LoadReport | None = None, **options: Any) -> LoadedRunner:
    request = wish(options=options)
    return LoadedRunner(1, request, plan_load(request, CONFIG, machine(*gpus)), 5, 100, load=load)


def report(*devices: tuple[str, int, int], host_bytes: int = 0, is_whole: bool = False) -> LoadReport:
    """Of devices with a name, bytes and layers."""
    found = tuple(DeviceMemory(name, size, layers) for name, size, layers in devices)
    return LoadReport(found, host_bytes, sum(layers for _, _, layers in devices), 33, is_whole)


def test_as_predicted() -> None:
    """Each device has its share; the whole model is there and the machine's memory does not count."""
    one = runner(card(0, 3.6), card(1, 3.6))
    shares = one.plan.split.shares
    assert [share.device for share in shares] == ["CUDA0", "CUDA1"]
    assert [one.bytes_on(share.device) for share in shares] == [share.size_bytes for share in shares]
    assert one.bytes_on("CUDA2") == 0
    assert one.size_bytes == one.vram_bytes == sum(share.size_bytes for share in shares)
    assert (one.devices, one.is_on_host) == ("CUDA0+CUDA1", False)


def test_as_predicted_in_part() -> None:
    one = runner(card(0, 3.6))
    assert one.is_on_host and 0 < one.vram_bytes == one.bytes_on("CUDA0")
    assert one.size_bytes == one.vram_bytes + one.plan.split.host_bytes > one.vram_bytes
    assert one.devices == "CUDA0"


def test_on_the_processor() -> None:
    """Beside a device that it does not use, its place is said; where there is none, it goes without saying."""
    one, alone = runner(card(0, 20), num_gpu=0), runner()
    assert (one.devices, alone.devices) == ("CPU", "")
    for each in (one, alone):
        assert each.size_bytes == each.plan.estimate.total_bytes > 0
        assert (each.vram_bytes, each.is_on_host) == (0, True)


def test_as_the_engine_says() -> None:
    """All of a device's parts count, and it may be elsewhere than was predicted."""
    load = report(("CUDA1", 70, 30), ("CUDA1", 7, 0), ("CUDA0", 5, 0), host_bytes=900)
    one = runner(card(0, 20), card(1, 10), load=load)
    assert (one.bytes_on("CUDA1"), one.bytes_on("CUDA0"), one.bytes_on("CUDA2")) == (77, 5, 0)
    assert (one.vram_bytes, one.is_on_host, one.size_bytes) == (82, True, 982)
    assert one.devices == "CUDA1+CPU"


def test_a_whole_model() -> None:
    """What it maps of its file is not needed any more."""
    one = runner(card(0, 20), load=report(("CUDA0", 70, 33), host_bytes=900, is_whole=True))
    assert (one.size_bytes, one.is_on_host, one.devices) == (70, False, "CUDA0")


def test_no_layer_on_any_device() -> None:
    one = runner(card(0, 20), load=report(("CUDA0", 5, 0), is_whole=True))
    assert one.devices == "CPU"


@pytest.mark.parametrize(
    ("phase", "lease_count", "keep_alive_ns", "load_timeout_ns", "deadline_ns"),
    [
        (Phase.LOADING, 0, 5, 40, 140),
        (Phase.LOADING, 0, 5, 1, 101),
        (Phase.LOADING, 0, 5, 0, None),
        (Phase.LOADING, 0, 5, -1, None),
        (Phase.READY, 0, 5, 40, 77),
        (Phase.READY, 1, 5, 40, None),
        (Phase.READY, 0, FOREVER_NS, 40, None),
        (Phase.READY, 0, FOREVER_NS - 1, 40, 77),
        (Phase.CHECKING, 0, 5, 40, None),
        (Phase.STOPPING, 0, 5, 40, None),
    ],
)
def test_when_time_alone_changes_something(
    phase: Phase, lease_count: int, keep_alive_ns: int, load_timeout_ns: int, deadline_ns: int | None
) -> None:
    one = runner()
    one.phase, one.lease_count, one.keep_alive_ns, one.expires_at_ns = phase, lease_count, keep_alive_ns, 77
    assert one.deadline_ns(load_timeout_ns) == deadline_ns
    assert one.is_idle is (phase is Phase.READY and lease_count == 0)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(-1, FOREVER_NS), (0, 0), (1, 1), (FOREVER_NS, FOREVER_NS), (FOREVER_NS + 1, FOREVER_NS)],
)
def test_how_long(asked: int, kept: int) -> None:
    assert clamp_keep_alive(asked) == kept
