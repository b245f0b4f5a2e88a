"""Seeds of every world hold what they must, and are the same wherever they run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.simulation import patches
from tests.simulation.__main__ import story
from tests.simulation.campaign import WORLDS, kept, run, seeds_of
from tests.simulation.world import Outcome, World, simulate

# What one run of the tests does of the 10,000 of .ci/run.
_SEEDS = 1000
_PRINT = """
import hashlib
from tests.simulation import patches
from tests.simulation.campaign import WORLDS
from tests.simulation.world import simulate
with patches.installed():
    for name, kind in WORLDS.items():
        for seed in range(100, 106):
            print(name, seed, hashlib.sha256(simulate(kind, seed).trace.encode()).hexdigest())
"""


@pytest.fixture
def installed() -> Iterator[None]:
    with patches.installed():
        yield


def failures_of(seeds: list[tuple[str, int]]) -> str:
    return "\n".join(map(story, run(seeds).failures))


@pytest.mark.slow
def test_nothing_is_broken() -> None:
    """Other seeds each day would find more, but a failure has to come back."""
    assert failures_of(seeds_of("all", 0, _SEEDS)) == ""


@pytest.mark.slow
def test_what_was_found_once_stays_mended() -> None:
    assert failures_of(list(kept())) == ""


@pytest.mark.slow
@pytest.mark.process
def test_a_seed_is_the_same_everywhere(installed: None) -> None:
    """In other processes, whatever the hashes of texts are there."""
    here = [
        f"{name} {seed} {hashlib.sha256(simulate(kind, seed).trace.encode()).hexdigest()}"
        for name, kind in WORLDS.items()
        for seed in range(100, 106)
    ]
    for hash_seed in ("0", "1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines() == here


@pytest.mark.parametrize("kind", WORLDS.values(), ids=list(WORLDS))
def test_another_seed_is_another_story(kind: type[World], installed: None) -> None:
    outcomes: list[Outcome] = [simulate(kind, seed) for seed in range(4)]
    assert len({outcome.trace for outcome in outcomes}) == 4
    assert all(outcome.violation is None and outcome.seconds > 0 for outcome in outcomes)
