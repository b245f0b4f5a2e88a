"""Prompts that come again: in memory beyond the slots, on disk after an unload and a restart."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.waiting import wait_until

PROMPT = "a b c d e f g h " * 100
OPTIONS = {"num_ctx": 2048, "num_predict": 4, "temperature": 0}


def ask(server: Server, prompt: str = PROMPT, **fields: Any) -> dict[str, Any]:
    options = {**OPTIONS, **fields.pop("options", {})}
    body = {"model": "m", "prompt": prompt, "raw": True, "stream": False, "options": options, **fields}
    answer: dict[str, Any] = server.post("/api/generate", body)
    return answer


def cached(answer: dict[str, Any]) -> int:
    return int(answer.get("prompt_eval_cached_count", 0))


def unload(server: Server) -> None:
    ended = sum("unloaded model=m" in line for line in server.log)
    server.post("/api/generate", {"model": "m", "keep_alive": 0, "stream": False})
    wait_until(lambda: sum("unloaded model=m" in line for line in server.log) > ended)


@pytest.fixture
def kept(start_server: Callable[..., Server], tmp_path: Path) -> Callable[..., Server]:
    """Servers on one folder with a model `m`."""

    def start(**env: str) -> Server:
        server = start_server(OLLAMA_MODELS=str(tmp_path / "models"), **env)
        if not server.get("/api/tags")["models"]:
            server.create("m", "tiny")
        return server

    return start


def test_after_an_unload_and_a_restart(kept: Callable[..., Server], tmp_path: Path) -> None:
    """The prompt is there, the answer the same; what is on disk is for the server's user alone."""
    server = kept()
    first = ask(server)
    assert cached(first) == 0
    unload(server)
    second = ask(server)
    assert cached(second) > first["prompt_eval_count"] - 10
    assert second["response"] == first["response"]
    server.process.terminate()
    assert server.process.wait(60) == 0
    third = ask(kept(), PROMPT + "and then")
    assert cached(third) > first["prompt_eval_count"] - 10
    folder = tmp_path / "models" / "corral" / "prompts"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_not_where_it_is_off(kept: Callable[..., Server], tmp_path: Path) -> None:
    """Nothing is written, and what was written before goes at the start."""
    off = kept(CORRAL_PROMPT_STATES="0")
    ask(off)
    unload(off)
    assert cached(ask(off)) == 0
    assert not list((tmp_path / "models").rglob("*.state"))
    on = kept()
    ask(on)
    unload(on)
    assert list((tmp_path / "models").rglob("*.state"))
    kept(CORRAL_PROMPT_STATES="0")
    wait_until(lambda: not list((tmp_path / "models").rglob("*.state")))


def test_beyond_the_slots(kept: Callable[..., Server]) -> None:
    """More conversations than slots come back to their prompts, with a seed too; not with `cache_prompt` false."""
    server = kept(OLLAMA_NUM_PARALLEL="1")
    prompts = [f"{i} {PROMPT}" for i in range(4)]
    first = [ask(server, prompt, options={"seed": 7}) for prompt in prompts]
    again = [ask(server, prompt, options={"seed": 7}) for prompt in prompts]
    assert all(cached(answer) > 500 for answer in again)
    assert [answer["response"] for answer in again] == [answer["response"] for answer in first]
    whole = ask(server, prompts[0], options={"seed": 7, "cache_prompt": False})
    assert (cached(whole), whole["response"]) == (0, first[0]["response"])


def test_no_memory_for_them(kept: Callable[..., Server]) -> None:
    """`CORRAL_CACHE_RAM=0`: only what lies in a slot is reused."""
    server = kept(OLLAMA_NUM_PARALLEL="1", CORRAL_CACHE_RAM="0")
    prompts = [f"{i} {PROMPT}" for i in range(2)]
    for prompt in prompts:
        ask(server, prompt)
    assert cached(ask(server, prompts[1])) > 500
    assert cached(ask(server, prompts[0])) < 100
