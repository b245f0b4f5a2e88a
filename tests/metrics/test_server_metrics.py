"""How requests and decisions become numbers."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from corral.metrics.server import OTHER, Served, ServerMetrics
from corral.metrics.text import PLAIN, render
from corral.requestfacts import RequestFacts
from corral.scheduler.journal import Decision
from corral.scheduler.spec import RunnerState


def text_of(metrics: ServerMetrics) -> str:
    return render(metrics.families, PLAIN).decode()


def facts_of_reply() -> RequestFacts:
    facts = RequestFacts(model="m", served_model="m:latest", begun_ns=0, queue_ns=2_000_000_000)
    facts.note_tokens(10, 9, 4, 200_000_000)
    facts.note_guesses(8, 3)
    facts.note_pieces(1)
    facts.note_pieces(3)
    return facts


def test_a_reply() -> None:
    metrics = ServerMetrics()
    metrics.served(Served("native", "/api/chat", 200, "", 0.5), facts_of_reply())
    assert metrics.requests.value("native", "/api/chat", "m:latest", "200", "") == 1
    assert metrics.prompt_tokens.value("m:latest") == 10
    assert metrics.cached_tokens.value("m:latest") == 9
    assert metrics.generated_tokens.value("m:latest") == 4
    assert metrics.guessed_tokens.value("m:latest") == 8
    assert metrics.accepted_tokens.value("m:latest") == 3
    assert metrics.first_token.count("m:latest", "yes") == 1
    assert metrics.gaps.count("m:latest") == 3
    assert 'corral_queue_seconds_bucket{model="m:latest",le="2.5"} 1' in text_of(metrics)
    assert 'corral_time_per_output_token_seconds_sum{model="m:latest"} 0.05' in text_of(metrics)


def test_what_clients_invent_does_not_become_a_label() -> None:
    metrics = ServerMetrics()
    for i in range(1000):
        facts = RequestFacts(model=f"invented-{i}")
        metrics.served(Served("native", "/api/chat", 404, "ModelNotFoundError", 0.1), facts)
        metrics.served(Served("", "", 404, "", 0.1), RequestFacts())
    assert "invented" not in text_of(metrics)
    assert metrics.requests.value("native", "/api/chat", "", "404", "ModelNotFoundError") == 1000


def test_models_beyond_the_bound_count_as_one() -> None:
    metrics = ServerMetrics()
    for i in range(300):
        metrics.served(Served("native", "/api/chat", 200, "", 0.1), RequestFacts(served_model=f"m{i}"))
    assert metrics.requests.value("native", "/api/chat", OTHER, "200", "") == 100
    assert metrics.requests.value("native", "/api/chat", "m199", "200", "") == 1


def test_keys_are_a_label_only_if_wanted() -> None:
    served = Served("native", "/api/chat", 200, "", 0.5, key="ab12cd34")
    for has_keys, count in ((True, 10), (False, 0)):
        metrics = ServerMetrics(has_keys=has_keys)
        metrics.served(served, facts_of_reply())
        metrics.served(Served("native", "/api/chat", 200, "", 0.5), facts_of_reply())
        assert metrics.key_tokens.value("ab12cd34", "prompt") == count
        assert ("ab12cd34" in text_of(metrics)) == has_keys


def test_decisions() -> None:
    metrics = ServerMetrics()
    for kind, cause in (
        ("loading", "wanted"), ("queued", ""), ("unloaded", "room"), ("runner ended", "RunnerExitedError"),
        ("load failed", "RunnerStartError"), ("refused", "QueueFullError"),
    ):  # fmt: skip
        metrics.decided(Decision(1, 0, kind, "m", cause))
    metrics.decided(Decision(1, 0, "loaded", "m", facts={"seconds": 0.7}))
    assert metrics.loads.value("m", "wanted") == 1
    assert metrics.evictions.value("m", "room") == 1
    assert (
        metrics.restarts.value("m", "RunnerExitedError")
        == metrics.restarts.value("m", "RunnerStartError")
        == 1
    )
    assert metrics.refusals.value("m", "QueueFullError") == 1
    assert metrics.load.count("m") == 1


def test_gauges_of_models() -> None:
    metrics = ServerMetrics(has_vllm_names=True)
    metrics.watch(lambda: [RunnerState("m", 100, 40, 4, 3, 2, 0.25)], lambda: ["m", "n"])
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text_of(metrics))
        for sample in family.samples
    }
    assert found[("corral_model_memory_bytes", "m", "gpu")] == 40
    assert found[("corral_model_memory_bytes", "m", "cpu")] == 60
    assert found[("corral_slots", "m")] == 4
    assert found[("corral_slots_busy", "m")] == found[("corral_requests_running", "m")] == 3
    assert found[("corral_requests_waiting", "m")] == found[("vllm:num_requests_waiting", "m")] == 3
    assert found[("corral_requests_waiting", "n")] == 1
    assert found[("corral_kv_usage_ratio", "m")] == found[("vllm:kv_cache_usage_perc", "m")] == 0.25
    assert found[("process_cpu_seconds_total",)] > 0
    assert found[("process_resident_memory_bytes",)] > 1 << 20


def test_vllm_names_have_vllm_labels() -> None:
    metrics = ServerMetrics(has_vllm_names=True)
    metrics.served(Served("native", "/api/chat", 200, "", 0.5), facts_of_reply())
    text = text_of(metrics)
    assert 'vllm:generation_tokens_total{model_name="m:latest"} 4' in text
    assert 'vllm:time_to_first_token_seconds_bucket{model_name="m:latest",cached="yes",le="+Inf"} 1' in text
    names = {family.name for family in text_string_to_metric_families(text)}
    assert "vllm:e2e_request_latency_seconds" in names
