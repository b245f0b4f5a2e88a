"""What the system's tools say, as devices: recorded forms of their output, folders laid out like /proc and /sys."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral import devices, gpus, systemtext
from corral.devices import CPU
from corral.gpus import GPU, parse_nvidia_smi, parse_rocm_smi

MIB = 1 << 20
GIB = 1 << 30

# nvidia-smi --query-gpu=index,name,memory.total,memory.free --format=csv,noheader,nounits
NVIDIA = {
    "none": ("", []),
    "no driver": ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", []),
    "one": (
        "0, NVIDIA GeForce RTX 4090, 24564, 23010\n",
        [GPU(0, "NVIDIA GeForce RTX 4090", "cuda", 24564 * MIB, 23010 * MIB)],
    ),
    "two of different size": (
        "0, NVIDIA H100 80GB HBM3, 81559, 81004\n1, Tesla P4, 7680, 7600\n",
        [
            GPU(0, "NVIDIA H100 80GB HBM3", "cuda", 81559 * MIB, 81004 * MIB),
            GPU(1, "Tesla P4", "cuda", 7680 * MIB, 7600 * MIB),
        ],
    ),
    "unified memory": (
        "0, NVIDIA GB10, [N/A], [N/A]\n",
        [GPU(0, "NVIDIA GB10", "cuda", 128 * GIB, 100 * GIB, True)],
    ),
    "comma in the name": (
        "0, Graphics Device, engineering, 8192, 8000\n",
        [GPU(0, "Graphics Device, engineering", "cuda", 8192 * MIB, 8000 * MIB)],
    ),
}


@pytest.mark.parametrize("case", NVIDIA)
def test_nvidia_smi(case: str) -> None:
    """Each line is a device; what is no line of the table is passed over."""
    text, expected = NVIDIA[case]
    assert list(parse_nvidia_smi(text, 128 * GIB, 100 * GIB)) == expected


def test_rocm_smi() -> None:
    """Cards with memory of their own, in order of their numbers; graphics inside a processor is left out."""
    cards = {
        "card1": {
            "Card Series": "Radeon RX 7900 XTX",
            "VRAM Total Memory (B)": str(24 * GIB),
            "VRAM Total Used Memory (B)": str(GIB),
        },
        "card0": {
            "Card series": "Instinct MI210",
            "VRAM Total Memory (B)": str(64 * GIB),
            "VRAM Total Used Memory (B)": "0",
        },
        "card2": {"Card Series": "Raphael", "VRAM Total Memory (B)": str(64 * MIB)},
        "system": {"Driver version": "6.8.0"},
    }
    text = "WARNING: AMD GPU device(s) is/are in a low-power state.\n" + json.dumps(cards)
    assert parse_rocm_smi(text) == (
        GPU(0, "Instinct MI210", "rocm", 64 * GIB, 64 * GIB),
        GPU(1, "Radeon RX 7900 XTX", "rocm", 24 * GIB, 23 * GIB),
    )


@given(st.text())
def test_no_output_of_a_tool_is_an_error(text: str) -> None:
    """Whatever a tool prints, the answer is a list of devices with sane numbers."""
    for gpu in (*parse_nvidia_smi(text, GIB, GIB), *parse_rocm_smi(text)):
        assert gpu.index >= 0
    total, free = devices.parse_meminfo(text)
    assert total >= 0
    assert free >= 0
    assert devices.parse_vm_stat(text) >= 0


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("0", [0]), ("1,0", [0, 1]), ("", []), ("-1", []), ("1,-1,0", [1]), ("GPU-8a5f", [0, 1])],
)
def test_hidden_devices(monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[int]) -> None:
    """CUDA_VISIBLE_DEVICES hides devices as the CUDA run time reads it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    text = "0, A, 8192, 8000\n1, B, 8192, 8000\n"
    found = gpus._visible(parse_nvidia_smi(text, 0, 0))
    assert [gpu.index for gpu in found] == expected


@pytest.mark.process
def test_a_tool_that_cannot_be_killed_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a driver that hangs: nobody waits for its end, and it is not started again before."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexec sleep 600\n")
    tool.chmod(0o755)
    monkeypatch.setattr(systemtext, "_TOOL_TIMEOUT_S", 0.5)
    monkeypatch.setattr(systemtext, "_stuck", {})
    real_kill = subprocess.Popen.kill
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _process: None)
    assert systemtext.run_tool([str(tool)]) == ""
    (process,) = systemtext._stuck.values()
    assert process.poll() is None
    assert systemtext.run_tool([str(tool)]) == ""
    assert list(systemtext._stuck.values()) == [process]
    real_kill(process)
    process.wait()
    tool.write_text("#!/bin/sh\necho again\n")
    monkeypatch.setattr(systemtext, "_TOOL_TIMEOUT_S", 60)
    assert systemtext.run_tool([str(tool)]) == "again"


@pytest.mark.process
def test_output_of_a_tool_that_fails_does_not_count(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho text\nexit 3\n")
    tool.chmod(0o755)
    assert systemtext.run_tool([str(tool)]) == ""
    assert systemtext.run_tool([str(tmp_path / "missing")]) == ""


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_hyper_threads_are_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four logical processors on two cores are two physical ones."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    files = {}
    for number in range(4):
        folder = f"sys/devices/system/cpu/cpu{number}/topology"
        files[f"{folder}/core_id"] = f"{number % 2}\n"
        files[f"{folder}/physical_package_id"] = "0\n"
    assert devices.read_cpu(lay_out(tmp_path, files)) == CPU(2, 4)


CGROUPS = {
    "version 2": {
        "proc/self/cgroup": "0::/system.slice/corral.inference\n",
        "sys/fs/cgroup/system.slice/corral.inference/cpu.max": "250000 100000\n",
        "sys/fs/cgroup/system.slice/corral.inference/memory.max": "max\n",
        "sys/fs/cgroup/system.slice/memory.max": f"{4 * GIB}\n",
        "sys/fs/cgroup/system.slice/memory.current": f"{3 * GIB}\n",
        "sys/fs/cgroup/system.slice/memory.stat": f"anon 1\ninactive_file {GIB}\n",
    },
    "version 1": {
        "proc/self/cgroup": "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{3 * GIB}\n",
        "sys/fs/cgroup/memory/memory.stat": f"total_inactive_file {GIB}\n",
    },
}


@pytest.mark.parametrize("version", CGROUPS)
def test_a_container_s_limits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """The tightest limit of our group and those around it; file cache that can be dropped is free."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    meminfo = {"proc/meminfo": f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {12 * GIB // 1024} kB\n"}
    root = lay_out(tmp_path, {**CGROUPS[version], **meminfo})
    assert devices.read_memory(root) == (4 * GIB, 2 * GIB)
    assert devices.read_cpu(root) == CPU(2, 2)


def test_a_mac() -> None:
    """vm_stat counts pages; Metal gives one process two thirds of a small memory, three quarters of a large one."""
    vm_stat = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                               10000.\n"
        "Pages active:                            500000.\n"
        "Pages inactive:                           20000.\n"
        "Pages speculative:                         1000.\n"
        "Pages purgeable:                            500.\n"
    )
    assert devices.parse_vm_stat(vm_stat) == 31500 * 16384
    (small,), (large,) = gpus._metal_gpus(24 * GIB, 20 * GIB), gpus._metal_gpus(64 * GIB, 8 * GIB)
    assert (small.total_bytes, small.free_bytes, small.is_unified) == (16 * GIB, 16 * GIB, True)
    assert (large.total_bytes, large.free_bytes) == (48 * GIB, 8 * GIB)


def group(folder: str, limit: int | str, used: int, stat: str = "", **more: int) -> dict[str, str]:
    """Files of a control group, version 2."""
    place = f"sys/fs/cgroup/{folder}"
    files = {
        f"{place}/memory.max": str(limit),
        f"{place}/memory.current": str(used),
        f"{place}/memory.stat": stat,
    }
    return {**files, **{f"{place}/memory.{name}": str(value) for name, value in more.items()}}


CACHE = f"anon {GIB}\nfile {6 * GIB}\ninactive_file {GIB}\nactive_file {5 * GIB}\nslab_reclaimable 0\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (group("", 8 * GIB, 7 * GIB, CACHE), (8, 7)),
        (group("a/b", 8 * GIB, 2 * GIB, "inactive_file 0\n", high=4 * GIB), (4, 2)),
        # Little is left in the group around ours, which has the larger limit.
        ({**group("a/b", 4 * GIB, 0), **group("a", 8 * GIB, 7 * GIB)}, (4, 1)),
        ({**group("a/b", 8 * GIB, GIB), **group("a", 4 * GIB, 3 * GIB)}, (4, 1)),
        ({**group("a/b", "max", GIB), **group("a", "max", 3 * GIB)}, (64, 60)),
        (group("a/b", 8 * GIB, 9 * GIB), (8, 0)),
        # Shared memory is in `file`, and stays.
        (
            group(
                "a/b", 8 * GIB, 6 * GIB, f"file {5 * GIB}\nshmem {5 * GIB}\ninactive_file 0\nactive_file 0\n"
            ),
            (8, 2),
        ),
    ],
)
def test_memory_of_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: tuple[int, int]
) -> None:
    """GiB in all and free: file cache can be dropped, looked at once or often; every group around ours counts."""
    monkeypatch.setattr("sys.platform", "linux")
    meminfo = {"proc/meminfo": f"MemTotal: {64 << 20} kB\nMemAvailable: {60 << 20} kB\n"}
    root = lay_out(tmp_path, {"proc/self/cgroup": "0::/a/b\n", **meminfo, **files})
    total, free = devices.read_memory(root)
    assert (total / GIB, free / GIB) == expected


def test_a_container_that_sees_its_own_group_of_version_1_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit around it stands in the statistics; mapped and active pages can be dropped."""
    monkeypatch.setattr("sys.platform", "linux")
    place = "sys/fs/cgroup/memory/memory"
    files = {
        "proc/self/cgroup": "4:memory:/docker/x\n",
        "proc/meminfo": f"MemTotal: {64 << 20} kB\nMemAvailable: {60 << 20} kB\n",
        f"{place}.limit_in_bytes": "9223372036854771712\n",
        f"{place}.usage_in_bytes": f"{7 * GIB}\n",
        f"{place}.stat": f"active_file 1\ntotal_inactive_file {GIB}\ntotal_active_file {5 * GIB}\n"
        f"hierarchical_memory_limit {8 * GIB}\n",
    }
    assert devices.read_memory(lay_out(tmp_path, files)) == (8 * GIB, 7 * GIB)
