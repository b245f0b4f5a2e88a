"""Which CPUs get a thread, on machines that this one is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral import devices
from corral.cores import count_cores, fast_cpus, parse_cpu_list
from corral.devices import CPU


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / "sys/devices" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def cores(*ids: int, package: int = 0) -> dict[str, str]:
    """The topology of CPUs by the ids of their cores."""
    files = {}
    for number, core in enumerate(ids):
        files[f"system/cpu/cpu{number}/topology/core_id"] = str(core)
        files[f"system/cpu/cpu{number}/topology/physical_package_id"] = str(package)
    return files


def capacities(*values: int) -> dict[str, str]:
    return {f"system/cpu/cpu{number}/cpu_capacity": str(value) for number, value in enumerate(values)}


# Files, the CPUs that the process may use, those that are fast, and how many cores they are.
MACHINES = {
    "two threads a core": (cores(0, 1, 2, 3, 0, 1, 2, 3), range(8), range(8), 4),
    "two packages with the same core ids": (
        {
            **cores(0, 1, 0, 1),
            "system/cpu/cpu2/topology/physical_package_id": "1",
            "system/cpu/cpu3/topology/physical_package_id": "1",
        },
        range(4),
        range(4),
        4,
    ),
    "a CPU set of one core": (cores(0, 1, 2, 3, 0, 1, 2, 3), {1, 5}, {1, 5}, 1),
    "Intel, 4 fast cores with 2 threads, 4 slow ones": (
        {"cpu_core/cpus": "0-7", "cpu_atom/cpus": "8-11", **cores(0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7)},
        range(12),
        range(8),
        4,
    ),
    "Intel with cores of low power": (
        {
            "cpu_core/cpus": "0-3",
            "cpu_atom/cpus": "4-7",
            "cpu_lowpower/cpus": "8-9",
            **cores(*range(10)),
        },
        range(10),
        range(4),
        4,
    ),
    "Intel, a CPU set of slow cores": (
        {"cpu_core/cpus": "0-3", "cpu_atom/cpus": "4-7", **cores(*range(8))},
        {5, 6},
        {5, 6},
        2,
    ),
    "Arm, 4 big and 4 little": (
        {**capacities(446, 446, 446, 446, 1024, 1024, 1024, 1024), **cores(*range(8))},
        range(8),
        range(4, 8),
        4,
    ),
    "Arm, 1 prime, 3 big, 4 little": (
        {**capacities(310, 310, 310, 310, 815, 815, 815, 1024), **cores(*range(8))},
        range(8),
        range(4, 8),
        4,
    ),
    "Arm, a CPU set of little ones": (
        {**capacities(446, 446, 1024, 1024), **cores(*range(4))},
        {0, 1},
        {0, 1},
        2,
    ),
    "Arm, all alike": ({**capacities(1024, 1024), **cores(0, 1)}, range(2), range(2), 2),
    "a capacity that is not known": ({**capacities(446, 1024), **cores(0, 1, 2)}, range(3), range(3), 3),
    "nothing is known": ({}, range(3), range(3), 3),
    "core ids of a virtual machine": (cores(-1, -1), range(2), range(2), 2),
}


@pytest.mark.parametrize("name", MACHINES)
def test_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    files, allowed, fast, expected = MACHINES[name]
    root = lay_out(tmp_path, files)
    assert fast_cpus(root, set(allowed)) == set(fast)
    assert count_cores(root, set(fast)) == expected
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(allowed), raising=False)
    assert devices.read_cpu(root) == CPU(expected, len(allowed))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", CPU(4, 8)),
        ("50000 100000", CPU(1, 1)),
        ("150000 100000", CPU(1, 1)),
        ("200000 100000", CPU(2, 2)),
        ("600000 100000", CPU(4, 6)),
        ("1600000 100000", CPU(4, 8)),
        ("nonsense", CPU(4, 8)),
    ],
)
def test_quotas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: CPU) -> None:
    """No thread more than the group may run at a time, in either version of control groups."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    for version in (1, 2):
        root = lay_out(tmp_path / str(version), cores(0, 1, 2, 3, 0, 1, 2, 3))
        controller, folder = ("cpu,cpuacct", "cpu/") if version == 1 else ("", "")
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text(f"{2 - version}:{controller}:/box\n")
        group = root / f"sys/fs/cgroup/{folder}box"
        group.mkdir(parents=True)
        if version == 2:
            (group / "cpu.max").write_text(quota)
        else:
            limit, _, period = quota.replace("max", "-1").partition(" ")
            (group / "cpu.cfs_quota_us").write_text(limit)
            (group / "cpu.cfs_period_us").write_text(period)
        assert devices.read_cpu(root) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("0", {0}),
        ("0-3", {0, 1, 2, 3}),
        ("0-1,8,10-11\n", {0, 1, 8, 10, 11}),
        ("3-1", set()),
        ("-1", set()),
        ("x,2", {2}),
        ("0-99999999999", set()),
    ],
)
def test_lists_of_cpus(text: str, expected: set[int]) -> None:
    assert parse_cpu_list(text) == expected


@given(st.text())
def test_any_text_is_a_list_of_cpus(text: str) -> None:
    assert all(number >= 0 for number in parse_cpu_list(text))
