"""What is known of a reply that is cut off: the engine gives its own figures only with the end of a reply."""

from __future__ import annotations

import time
from dataclasses import dataclass

from corral import requestfacts
from corral.types import GenerationMetrics


@dataclass(frozen=True, slots=True)
class SoFar:
    """Sums of the request when a run began, which may not be its first."""

    began_ns: int
    prompt_tokens: int
    cached_tokens: int
    queue_ns: int

    @classmethod
    def now(cls) -> SoFar:
        facts = requestfacts.current()
        return cls(time.perf_counter_ns(), facts.prompt_tokens, facts.cached_tokens, facts.queue_ns)

    def metrics(self, count: int, *, total_duration_ns: int, load_duration_ns: int) -> GenerationMetrics:
        """Of the run, which was given up after `count` tokens of the reply.

        The prompt is what the engine has read of it. It was read until the first token came.
        """
        facts, now_ns = requestfacts.current(), time.perf_counter_ns()
        begun_ns = self.began_ns + facts.queue_ns - self.queue_ns
        first_ns = max(facts.first_piece_ns, begun_ns) if count else now_ns
        return GenerationMetrics(
            total_duration_ns=total_duration_ns,
            load_duration_ns=load_duration_ns,
            prompt_eval_count=facts.prompt_tokens - self.prompt_tokens,
            prompt_eval_duration_ns=max(first_ns - begun_ns, 0),
            eval_count=count,
            eval_duration_ns=now_ns - first_ns,
            cached_count=facts.cached_tokens - self.cached_tokens,
            waits=facts.waits(),
        )
