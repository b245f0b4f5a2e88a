"""`bench --tune`: tries engine settings of a model on this machine, against those it has now, in alternating turns.

Every turn loads the model with the settings of a candidate into a server of its own, so nothing that runs is
disturbed, and only one model is in memory at a time. The best settings together are measured again against the
current ones before they are recommended.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from corral.cli.frame.flags import Arguments, UsageError
from corral.cli.http.client import APIError, Client
from corral.cli.terminal.json_output import print_json
from corral.cli.terminal.progress import Progress
from corral.cli.terminal.screen import is_terminal
from corral.cli.terminal.tables import screen_table, screen_text
from corral.cli.tools.privateserver import PrivateServer
from corral.cli.tools.sampling import (
    ATTEMPTS,
    Settings,
    calibrated,
    make_prompt,
    nothing_to_measure,
    request,
)
from corral.cli.tools.tuning import CURRENT, Candidate, Turn, best_together, candidates, gain, is_better
from corral.configfile.editing import engine_section, write_engine
from corral.configfile.reading import config_paths
from corral.devices import read_cpu

_WARM_UP_TOKENS = 4
_OPTIONS = ("num_thread", "num_batch")
_UNLOADED_S = 60.0


def tune(client: Client, arguments: Arguments, numbers: dict[str, int]) -> None:
    """Raises UsageError, APIError, CorralError."""
    if not client.address.is_loopback:
        raise UsageError("--tune measures this machine; run it where the server runs")
    if arguments.get("concurrency"):
        raise UsageError("--tune measures single requests, --concurrency does not go with it")
    model = arguments.words[0]
    _unload(client, model)  # it would take memory and, while it works, processor time
    cpu = read_cpu()
    tried = candidates(cpu.physical_count, cpu.logical_count, has_gpus=_uses_gpu(client))
    with ExitStack() as stack, Progress() as progress:
        bench = _Bench(stack, progress, model, numbers)
        turns = bench.rounds(tried)
        best = best_together([(each, bench.seconds(turns[each.name])) for each in tried])
        again = bench.rounds([CURRENT, Candidate("best together", best)]) if best else {}
    confirmed = bool(again) and is_better(
        bench.seconds(again[CURRENT.name]), bench.seconds(again["best together"])
    )
    result = _Result(model, bench, turns, again, best if confirmed else {})
    if arguments.has("json"):
        print_json(result.as_json())
    else:
        result.show(found=best)
    if result.best:
        _offer(model, result.best, is_agreed=arguments.has("yes"), may_ask=not arguments.has("json"))


def _unload(client: Client, model: str) -> None:
    client.call("POST", "/api/generate", {"model": model, "keep_alive": 0, "stream": False})


def _uses_gpu(client: Client) -> bool:
    return any(model["size_vram"] for model in client.call("GET", "/api/ps")["models"] or ())


class _Bench:
    """Servers by the variables that they need, and turns on them."""

    def __init__(self, stack: ExitStack, progress: Progress, model: str, numbers: dict[str, int]) -> None:
        self._stack = stack
        self._progress = progress
        self._servers: dict[str, Client] = {}
        self._serial = 0
        progress.status(f"loading {model}")
        self.settings: Settings = calibrated(self._server({}), model, numbers)
        self._unload(self._server({}))

    def _server(self, engine: Mapping[str, Any]) -> Client:
        flash = engine.get("flash_attention")
        variable = "" if flash is None else str(int(flash))
        if variable not in self._servers:
            variables = {"OLLAMA_FLASH_ATTENTION": variable} if variable else {}
            self._servers[variable] = self._stack.enter_context(PrivateServer(variables)).client
        return self._servers[variable]

    def rounds(self, tried: Sequence[Candidate]) -> dict[str, list[Turn]]:
        """Every candidate once a round, another one first each time."""
        turns: dict[str, list[Turn]] = {each.name: [] for each in tried}
        for number in range(self.settings.rounds):
            first = number % len(tried)
            for each in (*tried[first:], *tried[:first]):
                text = f"round {number + 1} of {self.settings.rounds}: {each.name}"
                self._progress.status(text, replace=True)
                turns[each.name].append(self._turn(each))
        return turns

    def _turn(self, candidate: Candidate) -> Turn:
        client = self._server(candidate.engine)
        options = {name: candidate.engine[name] for name in _OPTIONS if name in candidate.engine}
        try:
            self._request(client, _WARM_UP_TOKENS, options)
            return self._request(client, self.settings.tokens, options)
        finally:
            self._unload(client)

    def _request(self, client: Client, tokens: int, options: dict[str, Any]) -> Turn:
        for _ in range(ATTEMPTS):
            self._serial += 1
            prompt = make_prompt(self.settings, f"tune {self._serial}", time.time_ns())
            sample = request(client, self.settings, prompt, tokens, options)
            if sample is not None and (sample.rate > 0 or tokens <= _WARM_UP_TOKENS):
                token_s = 1 / sample.rate if sample.rate > 0 else 0.0
                return Turn(sample.prompt_tokens, sample.first_s - sample.started_s, token_s)
        raise nothing_to_measure(self.settings.model)

    def _unload(self, client: Client) -> None:
        _unload(client, self.settings.model)
        deadline_s = time.monotonic() + _UNLOADED_S
        while client.call("GET", "/api/ps")["models"]:
            if time.monotonic() > deadline_s:
                raise APIError(f"{self.settings.model} stays loaded")
            time.sleep(0.02)

    def seconds(self, turns: Sequence[Turn]) -> list[float]:
        """What a request of the size that was asked for took in each round."""
        return [turn.request_s(self.settings.prompt_tokens, self.settings.tokens) for turn in turns]


class _Result:
    def __init__(
        self,
        model: str,
        bench: _Bench,
        turns: Mapping[str, Sequence[Turn]],
        again: Mapping[str, Sequence[Turn]],
        best: Mapping[str, Any],
    ) -> None:
        self._model = model
        self._bench = bench
        self._turns = turns
        self._again = again
        self.best = best

    def _row(self, name: str, turns: Sequence[Turn], current: Sequence[Turn]) -> dict[str, Any]:
        seconds = self._bench.seconds(turns)
        return {
            "setting": name,
            "prompt_rate": statistics.median(turn.prompt_rate for turn in turns),
            "rate": statistics.median(turn.rate for turn in turns),
            "request_s": statistics.median(seconds),
            "times_as_fast": gain(self._bench.seconds(current), seconds),
            "rounds_s": seconds,
        }

    def _rows(self, turns: Mapping[str, Sequence[Turn]]) -> list[dict[str, Any]]:
        return [self._row(name, each, turns[CURRENT.name]) for name, each in turns.items()]

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt_tokens": self._bench.settings.prompt_tokens,
            "tokens": self._bench.settings.tokens,
            "results": self._rows(self._turns),
            "measured_again": self._rows(self._again) if self._again else [],
            "engine": dict(self.best),
            "config": engine_section(self._model, self.best) if self.best else "",
        }

    def show(self, found: Mapping[str, Any]) -> None:
        settings = self._bench.settings
        print(
            screen_text(
                f"{self._model}: prompts of {settings.prompt_tokens} tokens, responses of {settings.tokens}, "
                f"medians of {settings.rounds} alternating rounds"
            )
        )
        header = ("SETTING", "PROMPT TOK/S", "TOK/S", "REQUEST", "TIMES AS FAST")
        for turns in (self._turns, self._again):
            if turns:
                print(f"\n{screen_table([_cells(row) for row in self._rows(turns)], header=header)}", end="")
        if self.best:
            print(f"\n{engine_section(self._model, self.best)}", end="")
        elif found:
            print("\nmeasured again, the best settings together are not faster than those of now")
        else:
            print("\nnone of these is faster than the settings of now by more than noise")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["setting"],
        f"{row['prompt_rate']:.0f}",
        f"{row['rate']:.1f}",
        f"{row['request_s']:.2f} s",
        f"{row['times_as_fast']:.2f}",
    )


def _offer(model: str, best: Mapping[str, Any], *, is_agreed: bool, may_ask: bool) -> None:
    """Write the settings, if a person at the terminal agrees or a flag does."""
    path = config_paths(os.environ)[-1]
    if not is_agreed:
        if not (may_ask and is_terminal(sys.stdin) and is_terminal(sys.stdout)):
            return
        print(f"\nWrite this to {path}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return
    write_engine(path, model, best)
    print(f"written to {path}; a server reads it when it starts", file=sys.stderr)
