"""`bench --tune`: what is tried, what is believed, and what is written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.cli.tools.tuning import CURRENT, Candidate, Turn, best_together, candidates, gain, is_better
from tests.cli.replay import Replay
from tests.conftest import Server

THREADS = Candidate("num_thread 2", {"num_thread": 2})
MORE = Candidate("num_thread 4", {"num_thread": 4})
FLASH = Candidate("flash_attention off", {"flash_attention": False})


@pytest.mark.parametrize(
    ("cores", "has_gpus", "threads", "batches"),
    [
        ((1, 1), False, [1], [256, 512, 1024]),
        ((2, 2), False, [1, 2], [256, 512, 1024]),
        ((4, 8), False, [1, 2, 3, 4, 8], [256, 512, 1024]),
        ((16, 32), True, [1, 8, 15, 16, 32], [512, 1024, 2048]),
    ],
)
def test_candidates(cores: tuple[int, int], has_gpus: bool, threads: list[int], batches: list[int]) -> None:
    """The current settings first, each candidate with one change, none twice; never the type of the KV cache."""
    first, *others = candidates(*cores, has_gpus=has_gpus)
    assert first == CURRENT
    assert [each.engine["num_thread"] for each in others if "num_thread" in each.engine] == threads
    assert [each.engine["num_batch"] for each in others if "num_batch" in each.engine] == batches
    assert [each.engine["flash_attention"] for each in others if "flash_attention" in each.engine] == [
        True,
        False,
    ]
    assert all(len(each.engine) == 1 for each in others)
    assert len({each.name for each in others}) == len(others)


def test_a_turn_is_held_against_the_size_that_was_asked_for() -> None:
    turn = Turn(prompt_tokens=100, prompt_s=0.5, token_s=0.02)
    assert (turn.prompt_rate, turn.rate) == (200, 50)
    assert turn.request_s(200, 10) == pytest.approx(1.2)


def test_noise_is_not_believed() -> None:
    """Three percent, and most rounds: a single lucky one is not enough."""
    now = [1.0, 1.0, 1.0, 1.0, 1.0]
    assert gain(now, [0.5] * 5) == 2
    assert is_better(now, [0.9, 0.9, 0.9, 1.2, 1.2])
    assert not is_better(now, [0.98] * 5)
    assert not is_better([1.0, 1.0, 2.0, 2.0, 2.0], [1.1, 1.1, 1.9, 2.1, 2.1])


def test_the_best_of_each_setting_together() -> None:
    now = [1.0, 1.0, 1.0]
    assert best_together([(CURRENT, now), (THREADS, [0.8] * 3), (MORE, [0.7] * 3), (FLASH, [0.9] * 3)]) == {
        "num_thread": 4,
        "flash_attention": False,
    }
    assert best_together([(CURRENT, now), (THREADS, now), (FLASH, [1.5] * 3)]) == {}


def run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "bench", "--tune", *words],
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_a_model_is_tuned(server: Server, tmp_path: Path) -> None:
    """All candidates on real servers; the running one keeps its other models, and no file is written unasked."""
    env = {**server.env, "CORRAL_HOME": str(tmp_path)}
    result = run(env, "say", "--rounds", "1", "--tokens", "8", "--prompt-tokens", "16", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    names = [row["setting"] for row in found["results"]]
    assert names[0] == "as now"
    assert {"num_thread 1", "num_batch 512", "flash_attention on", "flash_attention off"} <= set(names)
    assert all(row["request_s"] > 0 and row["rate"] > 0 for row in found["results"])
    assert not (tmp_path / "config.toml").exists()
    assert bool(found["engine"]) == found["config"].startswith("[models.say]")
    server.post("/api/generate", {"model": "say", "stream": False})


def test_only_this_machine(replay: Callable[..., Replay]) -> None:
    env = replay().env
    away = run({**env, "OLLAMA_HOST": "http://192.0.2.1:9"}, "one")
    assert away.returncode == 1
    assert "measures this machine" in away.stderr or "could not connect" in away.stderr
    both = run(env, "one", "-c", "1,2")
    assert both.returncode == 1
    assert "--concurrency does not go with it" in both.stderr
