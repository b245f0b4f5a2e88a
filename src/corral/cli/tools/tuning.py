"""Which engine settings are tried for a model, and what the measured times say about them. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Less is noise, and not worth a line in a file.
LEAST_GAIN = 1.03
_BATCHES = (256, 512, 1024)
_GPU_BATCHES = (512, 1024, 2048)


@dataclass(frozen=True, slots=True)
class Candidate:
    """`engine`: settings as in a section of the configuration file; nothing: as the server is set up now."""

    name: str
    engine: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One measured request: seconds for its prompt and for each further token; rates in tokens per second."""

    prompt_tokens: int
    prompt_s: float
    token_s: float

    @property
    def prompt_rate(self) -> float:
        return self.prompt_tokens / self.prompt_s if self.prompt_s > 0 else 0.0

    @property
    def rate(self) -> float:
        return 1 / self.token_s if self.token_s > 0 else 0.0

    def request_s(self, prompt_tokens: int, tokens: int) -> float:
        """What a request of this size takes; the server may have counted the prompt a little differently."""
        return self.prompt_s * prompt_tokens / max(self.prompt_tokens, 1) + self.token_s * tokens


CURRENT = Candidate("as now", {})


def candidates(physical_count: int, logical_count: int, *, has_gpus: bool) -> list[Candidate]:
    """What is tried, the current settings first. Nothing that changes answers, such as the type of the KV cache."""
    threads = sorted(
        {1, max(physical_count // 2, 1), max(physical_count - 1, 1), physical_count, logical_count}
    )
    batches = _GPU_BATCHES if has_gpus else _BATCHES
    found = [CURRENT]
    found += [Candidate(f"num_thread {count}", {"num_thread": count}) for count in threads]
    found += [Candidate(f"num_batch {size}", {"num_batch": size}) for size in batches]
    found += [
        Candidate(f"flash_attention {'on' if is_on else 'off'}", {"flash_attention": is_on})
        for is_on in (True, False)
    ]
    return found


def gain(current_s: Sequence[float], other_s: Sequence[float]) -> float:
    """How many times as fast the other one is, by medians."""
    return statistics.median(current_s) / max(statistics.median(other_s), 1e-9)


def is_better(current_s: Sequence[float], other_s: Sequence[float]) -> bool:
    """Whether it is faster by more than noise: by the medians, and in most rounds."""
    wins = sum(other < current for current, other in zip(current_s, other_s, strict=True))
    return gain(current_s, other_s) >= LEAST_GAIN and wins * 2 > len(other_s)


def best_together(times: Sequence[tuple[Candidate, Sequence[float]]]) -> dict[str, Any]:
    """The best value of each setting that is better than the current one; empty if none is.

    `times`: seconds that a request took in each round, the current settings first.
    """
    (_, current_s), *others = times
    best: dict[str, tuple[float, Any]] = {}
    for candidate, seconds in others:
        if is_better(current_s, seconds):
            for name, value in candidate.engine.items():
                found = gain(current_s, seconds)
                if found > best.get(name, (0.0, None))[0]:
                    best[name] = (found, value)
    return {name: value for name, (_, value) in best.items()}
