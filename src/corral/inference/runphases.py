"""What a run of the engine tells the trace of its request: when prompt and reply were computed, with which options.

Everything is worked out at the end of the run: nothing is done for a token.
"""

from __future__ import annotations

import time

from corral import requestfacts, tracenotes
from corral.tracenotes import TraceNotes
from corral.types import Chunk, SamplingOptions


class RunPhases:
    """One run. Its prompt is computed from when it has a slot; its reply, as long as the engine says."""

    def __init__(self, notes: TraceNotes) -> None:
        self._notes = notes
        self._began_ns = time.perf_counter_ns()

    @classmethod
    def begin(cls, sampling: SamplingOptions) -> RunPhases | None:
        """None if the request is not traced."""
        notes = tracenotes.current()
        if notes is None:
            return None
        notes.facts |= {
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.top_k": float(sampling.top_k),
            "gen_ai.request.presence_penalty": sampling.presence_penalty,
            "gen_ai.request.frequency_penalty": sampling.frequency_penalty,
        }
        if sampling.num_predict > 0:
            notes.facts["gen_ai.request.max_tokens"] = sampling.num_predict
        if sampling.seed >= 0:
            notes.facts["gen_ai.request.seed"] = sampling.seed
        return cls(notes)

    def end(self, final: Chunk | None, count: int) -> None:
        """`final`: the last chunk; None for a run that was given up after `count` tokens."""
        facts, now_ns = requestfacts.current(), time.perf_counter_ns()
        waits = (phase.ended_ns for phase in self._notes.phases if phase.name == "queue")
        began_ns = max([self._began_ns, *waits])
        metrics = final.metrics if final is not None else None
        if final is None or metrics is None:
            decoding_ns = max(facts.first_piece_ns, began_ns) if count else now_ns
            self._notes.add("prefill", began_ns, decoding_ns)
            self._notes.add("decode", decoding_ns, now_ns, {"gen_ai.usage.output_tokens": count})
            return
        self._notes.facts["gen_ai.response.finish_reasons"] = (final.done_reason,)
        decoding_ns = max(now_ns - metrics.eval_duration_ns, began_ns)
        self._notes.add(
            "prefill",
            began_ns,
            decoding_ns,
            {
                "gen_ai.usage.input_tokens": metrics.prompt_eval_count,
                "gen_ai.usage.cache_read.input_tokens": metrics.cached_count,
            },
        )
        self._notes.add("decode", decoding_ns, now_ns, {"gen_ai.usage.output_tokens": metrics.eval_count})
