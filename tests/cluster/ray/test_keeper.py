"""The keeper of a node, with programs in the place of Ray."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from corral.cluster.ray import keeper
from corral.cluster.ray.failures import SlowStartError, WrongTokenError
from corral.cluster.ray.keeper import Keeper, end_left_over
from corral.cluster.ray.launch import launched
from corral.cluster.ray.library import RayError
from corral.cluster.ray.single import holder
from tests.cluster.ray.test_parts import SLOW, WRONG_TOKEN, record
from tests.waiting import wait_until

pytestmark = pytest.mark.process


class Machine:
    """What the keeper does on it: programs that it starts, questions that it asks Ray."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keeper, "_RAY_END_S", 0.5)
        self.folder = folder
        self.programs: list[str] = []
        self.asked: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.answers: list[Exception | None] = []
        monkeypatch.setattr(keeper, "check_reach", lambda _record: None)
        monkeypatch.setattr(
            keeper, "ray_command", lambda _record: [sys.executable, "-c", self.programs.pop(0)]
        )
        monkeypatch.setattr(keeper, "ask", self._ask)
        self.keeper = Keeper(record(folder), self.told.append)

    def _ask(self, _record: object, _environment: object, *words: str) -> dict[str, Any]:
        self.asked.append(words[0])
        problem = self.answers.pop(0) if words[0] == "up" and self.answers else None
        if problem is not None:
            raise problem
        return {"name": "box"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


RUNS = "import time; print('Ray runtime started.', flush=True); time.sleep(600)"
ENDS = "print('Ray runtime started.', flush=True)"


def fails(text: str) -> str:
    return f"import sys; print({text!r}, flush=True); sys.exit(1)"


def test_a_start_that_is_only_slow_is_tried_again(machine: Machine) -> None:
    machine.programs = [fails(SLOW), fails(SLOW), fails(SLOW)]
    with pytest.raises(SlowStartError):
        machine.keeper.run()
    assert not machine.programs and not machine.asked


def test_a_wrong_token_ends_the_start_at_once(machine: Machine) -> None:
    """Ray itself would try for half a minute."""
    machine.programs = [f"import time; print({WRONG_TOKEN!r}, flush=True); time.sleep(600)", RUNS]
    with pytest.raises(WrongTokenError):
        machine.keeper.run()
    assert machine.programs == [RUNS]


def test_ray_is_started_again_when_it_ends(machine: Machine) -> None:
    machine.programs = [ENDS, fails("anything"), ENDS, RUNS]
    ready: list[dict[str, Any]] = []

    def tell(said: dict[str, Any]) -> None:
        if "ready" in said:
            ready.append(said)
            if len(ready) == 3:
                machine.keeper.stop()

    machine.keeper._tell = tell
    machine.keeper.run()
    assert not machine.programs
    assert machine.asked == ["up", "up", "up", "down"], "the server ends before Ray does"


def test_a_server_that_does_not_start_ends_ray_too(machine: Machine) -> None:
    machine.programs = [RUNS]
    machine.answers = [RayError("the server on box does not start")]
    with pytest.raises(RayError, match="does not start"):
        machine.keeper.run()
    assert machine.asked == ["up", "down"] and machine.keeper._ray is None


def test_what_a_killed_keeper_left_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray that does not end by itself, in a group of its own."""
    monkeypatch.setattr(keeper, "_RAY_END_S", 0.5)
    left = record(tmp_path)
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('up', 'w'); time.sleep(600)"
    )
    process = subprocess.Popen(
        launched(left.ray_lock, [sys.executable, "-c", program]), start_new_session=True, cwd=tmp_path
    )
    try:
        wait_until((tmp_path / "up").exists)
        assert holder(left.ray_lock) == process.pid
        threading.Thread(target=process.wait, daemon=True).start()
        end_left_over(left)
        assert not holder(left.ray_lock)
        end_left_over(left)
    finally:
        process.kill()


def test_what_ray_said_is_the_error(machine: Machine) -> None:
    machine.programs = [fails("something nobody has seen")]
    with pytest.raises(RayError, match="something nobody has seen"):
        machine.keeper.run()
