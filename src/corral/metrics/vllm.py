"""The same numbers under vLLM's names, for dashboards and schedulers that read those."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from corral.metrics.instruments import Counter, Family, Gauge, Histogram

if TYPE_CHECKING:
    from corral.metrics.server import ServerMetrics


class Alias:
    """A family under another name, whose label `model` is called `model_name`."""

    def __init__(self, name: str, family: Counter | Gauge | Histogram) -> None:
        self.name, self.kind, self.meaning = name, family.kind, family.meaning
        self._family = family

    def lines(self) -> Iterable[str]:
        old, new = self._family.name, self.name
        for text in self._family.lines():
            # A histogram gives its series as one text of many lines.
            for line in text.splitlines(keepends=True):
                yield new + line.removeprefix(old).replace('model="', 'model_name="', 1)


def aliases(metrics: ServerMetrics) -> list[Family]:
    """vLLM's names for what both servers count."""
    gauges = {gauge.name: gauge for gauge in metrics.families if isinstance(gauge, Gauge)}
    return [
        Alias("vllm:num_requests_running", gauges["corral_requests_running"]),
        Alias("vllm:num_requests_waiting", gauges["corral_requests_waiting"]),
        Alias("vllm:kv_cache_usage_perc", gauges["corral_kv_usage_ratio"]),
        Alias("vllm:prompt_tokens_total", metrics.prompt_tokens),
        Alias("vllm:generation_tokens_total", metrics.generated_tokens),
        Alias("vllm:prefix_cache_queries_total", metrics.prompt_tokens),
        Alias("vllm:prefix_cache_hits_total", metrics.cached_tokens),
        Alias("vllm:spec_decode_num_draft_tokens_total", metrics.guessed_tokens),
        Alias("vllm:spec_decode_num_accepted_tokens_total", metrics.accepted_tokens),
        Alias("vllm:time_to_first_token_seconds", metrics.first_token),
        Alias("vllm:request_time_per_output_token_seconds", metrics.token_time),
        Alias("vllm:inter_token_latency_seconds", metrics.gaps),
        Alias("vllm:e2e_request_latency_seconds", metrics.durations),
        Alias("vllm:request_queue_time_seconds", metrics.queue),
    ]
