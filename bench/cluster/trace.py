"""Conversations as clients hold them: what they ask, of which model, and when. All by chance with a seed.

Nothing depends on who answers, so every policy meets the same conversations: the second question comes a while after
the first answer, whenever that was.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

from corral.cluster.keys import Prompt, prompt_of, seed_of
from corral.cluster.view import Answers, PromptKeys


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients do.

    Attributes:
        models: how many there are; the n-th is asked 1/n as often as the first one.
        apps: system prompts of each model, asked for in the same way.
        conversations_per_s: on average. In a burst, which is a tenth of the time, three times as many.
        turns: questions of a conversation, on average.
        system_bytes, question_bytes, answer_bytes: on average; lengths are lognormal.
        think_s: between an answer and the next question, on average.
    """

    models: int = 50
    apps: int = 8
    conversations_per_s: float = 70.0
    turns: float = 5.0
    system_bytes: int = 6000
    question_bytes: int = 400
    answer_bytes: int = 1200
    think_s: float = 20.0


BURST = 3.0
BURST_S = 20.0
QUIET_S = 180.0
# Spread of the logarithms of lengths.
_SIGMA = 0.8
_MOST_TURNS = 30


@dataclass(frozen=True, slots=True)
class App:
    """One model with one system prompt."""

    model: int
    system: bytes


@dataclass(slots=True)
class Conversation:
    """One client. The prompt grows by each answer and question; `turns_left` counts questions to come."""

    number: int
    app: App
    turns_left: int
    chance: Random
    keys: list[bytes] = field(default_factory=list)
    answers: list[tuple[int, int]] = field(default_factory=list)
    turn: int = 0

    def ask(self, load: Load) -> tuple[PromptKeys, Answers]:
        """The next question: the chain of the whole prompt with it."""
        question = self._text(b"q", load.question_bytes)
        self._extend(self.app.system + question if self.turn == 0 else question, is_answer=False)
        self.turn += 1
        self.turns_left -= 1
        return tuple(self.keys), tuple(self.answers)

    def answer(self, load: Load) -> int:
        """The model's answer becomes a part of the prompt. Its length in bytes."""
        text = self._text(b"a", load.answer_bytes)
        self._extend(text, is_answer=True)
        return len(text)

    def think_s(self, load: Load) -> float:
        """Until the next question."""
        return self.chance.expovariate(1 / load.think_s)

    def _text(self, kind: bytes, mean_bytes: int) -> bytes:
        size = max(16, int(mean_bytes * self.chance.lognormvariate(-_SIGMA * _SIGMA / 2, _SIGMA)))
        word = b"%b%d of %d. " % (kind, self.turn, self.number)
        return (word * (size // len(word) + 1))[:size]

    def _extend(self, piece: bytes, *, is_answer: bool) -> None:
        """The chain goes on where it ended, because a piece ends a block."""
        seed = self.keys[-1] if self.keys else seed_of(f"model {self.app.model}")
        begin = len(self.keys)
        more: Prompt = prompt_of(seed, [piece])
        self.keys += more.keys
        if is_answer:
            self.answers.append((begin, len(self.keys)))


def zipf(count: int) -> list[float]:
    """Cumulated shares: the n-th gets 1/n of what the first one gets."""
    weights = [1 / (n + 1) for n in range(count)]
    total = sum(weights)
    return list(accumulate(weight / total for weight in weights))


def conversations(load: Load, seed: int) -> Iterator[tuple[float, Conversation]]:
    """Endless: when each begins, in seconds, and the conversation."""
    chance = Random(seed)
    apps = [
        [App(model, _system(chance, load, model * load.apps + app)) for app in range(load.apps)]
        for model in range(load.models)
    ]
    of_models, of_apps = zipf(load.models), zipf(load.apps)
    quiet_rate = load.conversations_per_s * (QUIET_S + BURST_S) / (QUIET_S + BURST_S * BURST)
    now, number = 0.0, 0
    while True:
        is_burst = now % (QUIET_S + BURST_S) >= QUIET_S
        now += chance.expovariate(quiet_rate * (BURST if is_burst else 1))
        app = apps[bisect(of_models, chance.random())][bisect(of_apps, chance.random())]
        turns = min(_MOST_TURNS, 1 + int(chance.expovariate(1 / max(1e-9, load.turns - 0.5))))
        yield now, Conversation(number, app, turns, Random(seed * 1_000_003 + number))
        number += 1


def _system(chance: Random, load: Load, number: int) -> bytes:
    size = max(16, int(load.system_bytes * chance.lognormvariate(-_SIGMA * _SIGMA / 2, _SIGMA)))
    word = b"rule of %d. " % number
    return (word * (size // len(word) + 1))[:size]
