"""Terminals and recorded servers for the tests of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.replay import Replay
from tests.cli.screen import Screen

RECORDED = Path(__file__).parent / "recorded_ollama.json"


@pytest.fixture
def replay(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Replay]]:
    """Start doubles with answers of the test's own; without any with the recorded ones."""
    doubles: list[Replay] = []

    def start(answers: Sequence[dict[str, Any]] | None = None) -> Replay:
        chosen = json.loads(RECORDED.read_text()) if answers is None else answers
        double = Replay(chosen, tmp_path_factory.mktemp("replay"))
        doubles.append(double)
        return double

    yield start
    for double in doubles:
        double.close()


@pytest.fixture
def terminal(process: None, tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    """Run commands on terminals; all are ended afterwards."""
    screens: list[Screen] = []

    def start(env: dict[str, str], *words: str, **settings: Any) -> Screen:
        screen = Screen(words, env, cwd=tmp_path, **settings)
        screens.append(screen)
        return screen

    yield start
    for screen in screens:
        screen.close()


@pytest.fixture
def script() -> Callable[..., list[dict[str, Any]]]:
    """Answers of a server whose model says given texts, one an answer; the last goes on for ever."""

    def make(
        *texts: str, pause_s: float = 0, capabilities: Sequence[str] = ("completion",), **info: Any
    ) -> Any:
        show = {
            "details": {"family": "llama"},
            "model_info": {},
            "capabilities": [*capabilities],
            "template": "{{ .Prompt }}",
            **info,
        }
        loaded = {"model": "m", "response": "", "done": True, "done_reason": "load"}

        def entry(method: str, path: str, body: Any, **more: Any) -> dict[str, Any]:
            kind = "ndjson" if isinstance(body, list) else "empty" if body is None else "json"
            return {"method": method, "path": path, "json": None, "status": 200, "ctype": "application/json",
                    "kind": kind, "body": body, **more}  # fmt: skip

        answers = [
            entry("HEAD", "/", None),
            entry("POST", "/api/show", show, json={"model": "m"}),
            entry(
                "POST", "/api/show", {"error": "model 'nope' not found"}, json={"model": "nope"}, status=404
            ),
            entry("POST", "/api/generate", loaded),
        ]
        for number, text in enumerate(texts):
            events = [
                {"message": {"role": "assistant", "content": piece}, "done": False} for piece in _pieces(text)
            ]
            events.append({"message": {"role": "assistant", "content": ""}, "done": True,
                           "done_reason": "stop", "eval_count": 7, "eval_duration": 500_000_000})  # fmt: skip
            answers.append(entry("POST", "/api/chat", events, once=number < len(texts) - 1, pause_s=pause_s))
        return answers

    return make


def _pieces(text: str) -> list[str]:
    """A text in pieces that know nothing of words."""
    return [text[i : i + 3] for i in range(0, len(text), 3)]
