"""Score a GGUF on the held-out set through the real engine: `python -m tiny.evaluate --model FILE`.

Prints a table by skill. With `--run FOLDER` it also checks that tokens are the same in training and in the engine, and
that torch and the engine give the same probabilities.

Invariant: temperature 0, prompts rendered by the template in the file, nothing retried.
"""

import argparse
import http.client
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tiny.chat import render_prompt
from tiny.dialogues import Dialogue
from tiny.world import held_out, training_dialogues

__all__ = ["is_right"]

_CHILD = """
import os, sys, threading, xllamacpp as x
p = x.CommonParams()
p.model.path, p.hostnames = sys.argv[1], [sys.argv[2]]
p.n_parallel, p.n_ctx, p.verbosity, p.ui, p.special = 1, 2048, 1, False, True
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
p.cache_ram_mib = 0
server = x.Server(p)
threading.Event().wait()
"""
_START_TIMEOUT_S = 60
_ODD_STRINGS = ["", " ", "\n\n", "  two  spaces ", "tab\there", "naïve café", "日本語のテキスト", "😀 emoji 🐎", "x=1;y=[2,3]", "don't I'll we've", "1234567",
                "a\n\n b\n", "<think>", "</tool_call>x", "<|im_start|>user\nhi<|im_end|>", "UPPER lower MiXeD", "...!?", "\u00a0nbsp\u2003em", "{\"a\": [1, {\"b\": null}]}",
                "Ünïcödé", "a" * 50, "<tool>", "snake_case camelCase kebab-case", "\r\n", "٣ ² Ⅷ"]  # fmt: skip


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Engine:
    """A client of the engine's socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def post(self, route: str, body: dict[str, Any]) -> Any:
        """Send a request and return the decoded reply."""
        connection = _Connection(self._path)
        connection.request("POST", route, json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        if reply.status != 200:
            raise RuntimeError(f"{route}: {reply.status} {text[:500]!r}")
        return json.loads(text)

    def complete(self, prompt: str, limit: int = 160, **options: Any) -> dict[str, Any]:
        """Complete a prompt greedily."""
        body = {
            "prompt": prompt,
            "n_predict": limit,
            "temperature": 0,
            "cache_prompt": False,
            "repeat_penalty": 1.0,
            **options,
        }
        reply: dict[str, Any] = self.post("/completion", body)
        return reply


@contextmanager
def run_engine(model: Path) -> Iterator[Engine]:
    """Start the engine on a model in a child and stop it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/engine.sock"
        environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(model), path], env=environment)
        try:
            engine, deadline = Engine(path), time.monotonic() + _START_TIMEOUT_S
            while True:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the engine did not start")
                try:
                    engine.post("/tokenize", {"content": "x"})
                    break
                except (OSError, RuntimeError):
                    time.sleep(0.1)
            yield engine
        finally:
            child.kill()
            child.wait()


def _has_word(text: str, part: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None


def _load_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def is_right(dialogue: Dialogue, reply: str) -> bool:
    """Judge a reply: the wanted words, text, JSON or call, and nothing wrong around them."""
    text = reply.removesuffix("<|im_end|>").strip()
    if dialogue.is_thinking:
        match = re.fullmatch(r"<think>\n(.+?)\n</think>\n\n(.*)", text, re.DOTALL)
        if match is None:
            return False
        text = match[2]
    elif "<think>" in text:
        return False
    if dialogue.check == "tool":
        match = re.fullmatch(r"<tool_call>\s*(\{.*\})\s*</tool_call>", text, re.DOTALL)
        return match is not None and _load_json(match[1]) == dialogue.expected
    if dialogue.check == "json":
        return _load_json(text) == dialogue.expected and str(_load_json(text)) == str(dialogue.expected)
    if "<tool_call>" in text or (dialogue.check == "upper" and text != text.upper()):
        return False
    if dialogue.check == "exact":
        return text == dialogue.must[0]
    return all(_has_word(text, part) for part in dialogue.must)


def _score(engine: Engine, dialogues: list[Dialogue], is_verbose: bool) -> dict[str, list[bool]]:
    results: dict[str, list[bool]] = defaultdict(list)
    for dialogue in dialogues:
        prompt = render_prompt(
            dialogue.messages,
            dialogue.tools,
            enable_thinking=dialogue.is_thinking,
            json_style=dialogue.json_style,
        )
        reply = engine.complete(prompt)["content"]
        results[dialogue.skill].append(is_right(dialogue, reply))
        if is_verbose and not results[dialogue.skill][-1]:
            print(
                f"[{dialogue.skill}] {dialogue.canonical[-1]!r}\n   got    {reply!r}\n   wanted {dialogue.completion!r}"
            )
    return results


def _count_token_differences(engine: Engine, run: Path) -> tuple[int, int]:
    from tiny.tokenizer import load

    tokenizer = load(run / "tokenizer.json")
    texts = list(_ODD_STRINGS)
    for dialogue in islice(training_dialogues(99), 300):
        prompt = render_prompt(dialogue.messages, dialogue.tools, enable_thinking=dialogue.is_thinking)
        texts += [prompt, dialogue.completion]
    wrong = [
        text
        for text in texts
        if tokenizer.encode(text).ids != engine.post("/tokenize", {"content": text})["tokens"]
    ]
    for text in wrong[:5]:
        print("tokens differ:", repr(text[:200]))
    return len(wrong), len(texts)


def _largest_probability_gap(engine: Engine, run: Path) -> float:
    import torch

    from tiny.export import load_model
    from tiny.tokenizer import load

    tokenizer, model, gap = load(run / "tokenizer.json"), load_model(run), 0.0
    for dialogue in islice(training_dialogues(98), 20):
        prompt = render_prompt(dialogue.messages, dialogue.tools)
        with torch.no_grad():
            mine = model(torch.tensor([tokenizer.encode(prompt).ids]))[0, -1].softmax(-1)
        top = engine.complete(prompt, 1, n_probs=3)["completion_probabilities"][0]["top_logprobs"]
        gap = max(gap, *(abs(math.exp(entry["logprob"]) - mine[entry["id"]].item()) for entry in top))
    return gap


def main() -> None:
    """Parse the command line, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="training folder: also compare tokens and probabilities")
    parser.add_argument("--verbose", action="store_true", help="print every wrong reply")
    args = parser.parse_args()
    with run_engine(args.model) as engine:
        if args.run:
            wrong, total = _count_token_differences(engine, args.run)
            print(f"tokenisation: {wrong} of {total} strings differ")
            print(
                f"largest difference of a probability, torch against engine: {_largest_probability_gap(engine, args.run):.4f}"
            )
        results = _score(engine, held_out(), args.verbose)
    print("\n| skill | right | of | share |\n|---|---|---|---|")
    everything = [mark for marks in results.values() for mark in marks]
    for skill, marks in [*results.items(), ("**all**", everything)]:
        print(f"| {skill} | {sum(marks)} | {len(marks)} | {100 * sum(marks) / len(marks):.0f} % |")


if __name__ == "__main__":
    main()
