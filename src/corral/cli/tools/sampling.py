"""One request of `bench`, measured at the client: a prompt of random words, and when its tokens came."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from corral.cli.http.client import APIError, Client

_WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house "
    "service friend father power hour game line end member law car city name team minute idea body back parent face"
).split()
_TRIAL_WORDS = 64
# A small model may end its response to random words at once.
ATTEMPTS = 8
# No model generates tokens in such quick succession.
_SAME_PACKET_S = 0.0003


@dataclass(frozen=True, slots=True)
class Settings:
    """`prompt_words` is the number of words that makes about `prompt_tokens`."""

    model: str
    prompt_tokens: int
    prompt_words: int
    tokens: int
    rounds: int
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Times are seconds of the monotonic clock; counts are the server's.

    `first_tokens` came with the first packet. `writing_s` is the server's own figure, 0 if it reports none.
    """

    started_s: float
    first_s: float
    last_s: float
    prompt_tokens: int
    tokens: int
    first_tokens: float = 1.0
    writing_s: float = 0.0

    @property
    def rate(self) -> float:
        """Tokens per second after the first packet; the server's figure if there is only one packet."""
        if self.last_s > self.first_s:
            return rate_of(self.tokens - self.first_tokens, self.last_s - self.first_s)
        return rate_of(self.tokens, self.writing_s)


def rate_of(count: float, seconds: float) -> float:
    return count / seconds if seconds > 0 and count > 0 else 0.0


def calibrated(client: Client, model: str, numbers: dict[str, int]) -> Settings:
    """Load the model, and find how many words make a prompt of the required length."""
    wanted, words = numbers["prompt-tokens"], _TRIAL_WORDS
    settings = Settings(model, wanted, words, numbers["tokens"], numbers["rounds"], numbers["seed"])
    trial = None
    for attempt in range(ATTEMPTS):
        prompt = make_prompt(settings, f"trial {attempt}", time.time_ns())
        trial = trial or request(client, settings, prompt, 2)
    if trial is None:
        raise nothing_to_measure(model)
    words = max(round(wanted * words / max(trial.prompt_tokens, 1)), 1)
    return Settings(model, wanted, words, numbers["tokens"], numbers["rounds"], numbers["seed"])


def make_prompt(settings: Settings, place: str, nonce: int) -> str:
    """Words chosen by the seed and the place in the run, after a beginning that is new in each run."""
    drawn = random.Random(f"{settings.seed} {place}")
    head = random.Random(f"{nonce} {place}").choices(_WORDS, k=min(8, settings.prompt_words))
    return " ".join([*head, *drawn.choices(_WORDS, k=settings.prompt_words - len(head))])


def nothing_to_measure(model: str) -> APIError:
    return APIError(f"{model} generates no tokens, so there is nothing to measure")


def request(
    client: Client, settings: Settings, prompt: str, tokens: int, further: Mapping[str, Any] | None = None
) -> Sample | None:
    """One request, with further options; None for a response without tokens."""
    options = {"num_predict": tokens, "temperature": 0, "seed": settings.seed, **(further or {})}
    body = {"model": settings.model, "prompt": prompt, "raw": True, "options": options}
    arrivals: list[float] = []
    final: dict[str, Any] = {}
    started_s = time.monotonic()
    with closing(client.stream("/api/generate", body)) as events:
        for event in events:
            if event.get("response") or event.get("thinking"):
                arrivals.append(time.monotonic())
            final = event
    return sample_of(started_s, arrivals, final) if arrivals else None


def sample_of(started_s: float, arrivals: Sequence[float], final: dict[str, Any]) -> Sample:
    """A sample from the arrival times of a stream. Pieces that arrive at once count as one packet."""
    packets = [arrivals[0]]
    in_first = len(arrivals)
    for i in range(1, len(arrivals)):
        if arrivals[i] - arrivals[i - 1] > _SAME_PACKET_S:
            in_first = min(in_first, i)
            packets.append(arrivals[i])
    tokens = final.get("eval_count") or 0
    return Sample(
        started_s,
        packets[0],
        packets[-1],
        final.get("prompt_eval_count") or 0,
        tokens,
        first_tokens=in_first * tokens / len(arrivals),
        writing_s=(final.get("eval_duration") or 0) / 1e9,
    )
