"""`bench`: its arithmetic on known times, what it sends, and a run on a real model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from corral.cli.tools.bench import Round, plot
from corral.cli.tools.sampling import Sample, Settings, make_prompt, sample_of
from tests.cli.replay import Replay
from tests.conftest import Server


def bench(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "bench", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_figures_of_a_round() -> None:
    """Two requests of 100 prompt tokens: first tokens after 1 and 2 seconds, 11 tokens each until 4 and 6."""
    result = Round.of([Sample(10, 11, 14, 100, 11), Sample(10, 12, 16, 100, 11)])
    assert result.prompt_rate == pytest.approx(200 / 2)
    assert result.first_token_ms == pytest.approx(1500)
    assert result.decode_rate == pytest.approx((10 / 3 + 10 / 4) / 2)
    assert result.total_rate == pytest.approx(21 / 5)
    assert Round.median([result, Round(0, 0, 0, 0), Round(900, 9000, 90, 90)]) == result


def test_a_single_token_has_no_rate() -> None:
    """Nothing is divided by nothing."""
    assert Round.of([Sample(1, 2, 2, 10, 1)]).decode_rate == 0


@pytest.mark.parametrize("each", [1, 4], ids=["a piece a token", "a piece of four tokens"])
def test_several_tokens_in_a_packet(each: int) -> None:
    """Packets of three pieces, one a second: what the first one brought took no time to write."""
    arrivals = [packet + i * 1e-5 for packet in (11.0, 12.0, 13.0) for i in range(3)]
    sample = sample_of(10.0, arrivals, {"eval_count": 9 * each, "prompt_eval_count": 5})
    assert (sample.first_s, sample.last_s, sample.first_tokens) == (11.0, 13.0, 3 * each)
    assert sample.rate == pytest.approx(3 * each)
    assert Round.of([sample]).total_rate == pytest.approx(3 * each)


def test_all_tokens_in_one_packet() -> None:
    """The server's own measure is the only one then; without it there is none."""
    arrivals = [11.0 + i * 1e-5 for i in range(8)]
    final = {"eval_count": 8, "eval_duration": 2_000_000_000}
    assert sample_of(10.0, arrivals, final).rate == pytest.approx(4)
    assert Round.of([sample_of(10.0, arrivals, final)]).total_rate == pytest.approx(4)
    assert sample_of(10.0, arrivals, {"eval_count": 8}).rate == 0


def test_prompts_differ_from_the_start() -> None:
    """Between places and between runs; the same place of one run gives the same prompt."""
    settings = Settings("m", 0, 100, 0, 0, 1)
    prompts = [make_prompt(settings, f"{i}", nonce) for i in range(20) for nonce in (1, 2)]
    assert len({tuple(prompt.split()[:8]) for prompt in prompts}) == 40
    assert {len(prompt.split()) for prompt in prompts} == {100}
    assert make_prompt(settings, "1", 1) == prompts[2]
    other = Settings("m", 0, 100, 0, 0, 2)
    assert make_prompt(other, "1", 1) != prompts[2]
    assert len(make_prompt(Settings("m", 0, 3, 0, 0, 1), "1", 1).split()) == 3


def test_plot() -> None:
    """The largest value fills the width; lengths are as the values."""
    lines = plot("title", [1, 16], [5, 10], 8).splitlines()
    assert lines == ["title", "   1 ████ 5", "  16 ████████ 10"]
    assert plot("t", [1], [0], 8).splitlines()[1] == "   1  0"
    assert "▌" in plot("t", [1, 2], [4.5, 8], 8)


@pytest.fixture
def paced(replay: Callable[..., Replay]) -> Replay:
    """A server that says 11 tokens, one each 50 milliseconds, and counts 70 tokens for a trial of 64 words."""

    def answer(method: str, path: str, kind: str, body: Any, **more: Any) -> dict[str, Any]:
        head = {"method": method, "path": path, "json": None, "status": 200, "ctype": "application/json"}
        return {**head, "kind": kind, "body": body, **more}

    events: list[dict[str, Any]] = [{"response": " word", "done": False} for _ in range(11)]
    events.append({"response": "", "done": True, "prompt_eval_count": 70, "eval_count": 11})
    return replay(
        [
            answer("HEAD", "/", "empty", None),
            answer("GET", "/api/version", "json", {"version": "9.9.9"}),
            answer("POST", "/api/generate", "ndjson", events, pause_s=0.05),
        ]
    )


def test_what_is_sent_and_what_is_seen(paced: Replay) -> None:
    """A trial, then for each level a warm-up and the rounds; rates are near the server's pace.

    Above it only as far as a busy machine may see the first token late.
    """
    result = bench(
        paced.env, "m", "-c", "1,3", "--rounds", "2", "--json", "--tokens", "11", "--prompt-tokens", "140"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["server_version"] == "9.9.9"
    assert report["settings"]["prompt_words"] == 128
    bodies = paced.bodies("/api/generate")
    assert len(bodies) == 1 + (1 + 2) * 1 + (1 + 2) * 3
    assert len({body["prompt"] for body in bodies}) == len(bodies)
    assert all(body["raw"] and body["options"]["seed"] == 1 for body in bodies)
    assert sorted(body["options"]["num_predict"] for body in bodies) == [2] + [8] * 4 + [11] * 8
    for entry, level in zip(report["results"], (1, 3), strict=True):
        assert entry["concurrency"] == level
        assert len(entry["rounds"]) == 2
        assert 0 < entry["median"]["decode_rate"] <= 60
        assert 0 < entry["median"]["total_rate"] <= 60 * level
        assert entry["median"]["first_token_ms"] >= 49
        assert entry["tokens"] == 11


def test_a_real_model(server: Server) -> None:
    """The table has a line for each level, and the plots as well; counts are the server's."""
    result = bench(server.env, "tiny", "-c", "1,2", "--rounds", "1", "--tokens", "4", "--prompt-tokens", "20")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("tiny: prompts of ")
    header = lines.index("CONCURRENT    PROMPT TOK/S    FIRST TOKEN    TOK/S EACH    TOK/S ALL ")
    assert [line.split()[0] for line in lines[header + 1 : header + 3]] == ["1", "2"]
    assert all(float(line.split()[1]) > 0 for line in lines[header + 1 : header + 3])
    assert "first token, milliseconds" in lines


def test_answers_without_a_token(replay: Callable[..., Replay]) -> None:
    """One is left out and told; nothing but such answers is an error."""

    def answer(method: str, path: str, body: Any, **more: Any) -> dict[str, Any]:
        kind = "ndjson" if isinstance(body, list) else "json"
        head = {"method": method, "path": path, "json": None, "status": 200, "ctype": "application/json"}
        return {**head, "kind": kind, "body": body, **more}

    end = {"response": "", "done": True, "prompt_eval_count": 64, "eval_count": 3}
    said = [{"response": " a", "done": False}] * 3
    version = [answer("GET", "/api/version", {"version": "1"}), answer("HEAD", "/", {})]
    empty = answer("POST", "/api/generate", [end])
    words = ("m", "-c", "2", "--rounds", "1", "--tokens", "3")
    result = bench(replay([*version, empty]).env, *words)
    assert result.returncode == 1
    assert "m generates no tokens, so there is nothing to measure" in result.stderr
    # The first trial has none, and one of the two requests that count.
    once = {**empty, "once": True}
    full = answer("POST", "/api/generate", [*said, end])
    order = [once, {**full, "once": True}, *[{**full, "once": True}] * 2, once, full]
    result = bench(replay([*version, *order]).env, *words)
    assert result.returncode == 0, result.stderr
    assert "note: 1 responses had no tokens and are not counted" in result.stdout
    # A whole round without a token is tried again with other words.
    order = [{**full, "once": True}, once, {**full, "once": True}, once, once, full]
    result = bench(replay([*version, *order]).env, "m", "-c", "1", "--rounds", "1", "--tokens", "3")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["m", "-c", "1,x"], 'invalid argument "1,x" for "--concurrency" flag'),
        (["m", "-c", "0"], "numbers from 1 to 256"),
        (["m", "--rounds", "0"], "--rounds is too small"),
        (["nope"], "404"),
    ],
)
def test_errors(replay: Callable[..., Replay], words: list[str], error: str) -> None:
    """What cannot be measured is told at once."""
    result = bench(replay().env, *words)
    assert result.returncode == 1
    assert error in result.stderr
