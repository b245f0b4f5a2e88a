"""What a client waited for, in answers to requests with `X-Corral-Metrics: 1`."""

from __future__ import annotations

from corral import requestfacts
from corral.api.http.exchange import Exchange
from corral.golang.json import encode
from corral.types import GenerationMetrics

_NS_PER_MS = 1e6
_NS_PER_S = 1e9


def note_wish(exchange: Exchange) -> None:
    """Note whether the client asks for it."""
    if exchange.header(b"x-corral-metrics").lower() in ("1", "true"):
        requestfacts.current().wants_waits = True


def native_member(metrics: GenerationMetrics) -> list[bytes]:
    """The member `metrics` of a last object, after a comma; names are vLLM's."""
    waits = metrics.waits
    if waits is None:
        return []
    values = {
        "time_to_first_token_ms": _ms(waits.first_token_ns),
        "queue_time_ms": _ms(waits.queue_ns),
        "load_time_ms": _ms(waits.load_ns),
        "prompt_time_ms": _ms(metrics.prompt_eval_duration_ns),
        "generation_time_ms": _ms(metrics.eval_duration_ns),
        "mean_itl_ms": _ms(waits.token_gap_ns),
        "tokens_per_second": _rate(metrics.eval_count, metrics.eval_duration_ns),
        "cached_tokens": metrics.cached_count,
    }
    return [b',"metrics":', encode(values)]


def timings_member(metrics: GenerationMetrics | None) -> bytes:
    """The member `timings` as llama-server has it, after a comma, with ours in front; empty if nobody asked."""
    if metrics is None or (waits := metrics.waits) is None:
        return b""
    computed = metrics.prompt_eval_count - metrics.cached_count
    values: dict[str, float] = {
        "time_to_first_token_ms": _ms(waits.first_token_ns),
        "queue_ms": _ms(waits.queue_ns),
        "load_ms": _ms(waits.load_ns),
        "cache_n": metrics.cached_count,
        "prompt_n": computed,
        "prompt_ms": _ms(metrics.prompt_eval_duration_ns),
        "prompt_per_second": _rate(computed, metrics.prompt_eval_duration_ns),
        "predicted_n": metrics.eval_count,
        "predicted_ms": _ms(metrics.eval_duration_ns),
        "predicted_per_second": _rate(metrics.eval_count, metrics.eval_duration_ns),
    }
    if metrics.draft_count is not None:
        values |= {"draft_n": metrics.draft_count, "draft_n_accepted": metrics.draft_accepted_count or 0}
    return b',"timings":' + encode(values)


def _ms(duration_ns: int) -> float:
    return round(duration_ns / _NS_PER_MS, 3)


def _rate(count: int, duration_ns: int) -> float:
    return round(count * _NS_PER_S / duration_ns, 3) if duration_ns else 0.0
