"""The metrics of the server: their names, labels and bounds, and how what happens becomes numbers.

Bounds are OpenTelemetry's for generative AI where it has some (semantic-conventions-genai), with vLLM's beyond them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from corral import __version__
from corral.metrics.instruments import Counter, Family, Gauge, Histogram, Labels, Sample
from corral.metrics.process import process_families
from corral.requestfacts import GAP_BOUNDS_S, RequestFacts
from corral.scheduler.journal import Decision
from corral.scheduler.spec import RunnerState

_REQUEST_S = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68,
)  # fmt: skip
_FIRST_TOKEN_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
)  # fmt: skip
_TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_WAIT_S = (0.001, 0.01, 0.1, 0.3, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
# Names that become labels; the rest counts as one model of the name `other`.
_MAX_MODELS = 200
OTHER = "other"
_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Served:
    """An HTTP request that was answered. `route` is its path in the table of routes; empty for an unknown one.

    `is_use`: it ran a model, or was to. `key` is the id of its API key, empty without one. `is_hop`: another server
    of the cluster passed it on, and counts what its caller used.
    """

    surface: str
    route: str
    status: int
    reason: str
    seconds: float
    is_use: bool = False
    key: str = ""
    is_hop: bool = False


class ServerMetrics:
    """Everything that `/metrics` shows. `sources` are families of other packages."""

    def __init__(
        self,
        *,
        sources: Sequence[Family] = (),
        has_vllm_names: bool = False,
        has_keys: bool = False,
    ) -> None:
        self._known: set[str] = set()
        self._has_keys = has_keys
        self.store_bytes = self.free_bytes = 0
        self._models: Callable[[], Iterable[RunnerState]] = lambda: ()
        self._waiting: Callable[[], Iterable[str]] = lambda: ()
        self.requests = Counter(
            "corral_requests_total",
            "HTTP requests, by the class of the error in reason.",
            "surface", "route", "model", "status", "reason",
        )  # fmt: skip
        self.durations = Histogram(
            "corral_request_duration_seconds", "From a request's head to the end of its answer.", _REQUEST_S,
            "surface", "model",
        )  # fmt: skip
        self.first_token = Histogram(
            "corral_time_to_first_token_seconds",
            "From a request's head to the first piece of its reply, by how much of the prompt was computed before.",
            _FIRST_TOKEN_S, "model", "cached",
        )  # fmt: skip
        self.token_time = Histogram(
            "corral_time_per_output_token_seconds",
            "Decoding time of a reply by its tokens.",
            _TOKEN_S,
            "model",
        )
        self.gaps = Histogram(
            "corral_inter_token_seconds",
            "Between two tokens of a reply, as they are sent.",
            GAP_BOUNDS_S,
            "model",
        )
        self.queue = Histogram(
            "corral_queue_seconds", "Waiting for a slot or for other models.", _WAIT_S, "model"
        )
        self.load = Histogram("corral_load_seconds", "Loading a model.", _WAIT_S, "model")
        self.prompt_tokens = Counter("corral_prompt_tokens_total", "Tokens of prompts.", "model")
        self.cached_tokens = Counter(
            "corral_cached_prompt_tokens_total", "Tokens of prompts that had been computed before.", "model"
        )
        self.generated_tokens = Counter("corral_generated_tokens_total", "Tokens of replies.", "model")
        self.guessed_tokens = Counter(
            "corral_drafted_tokens_total", "Tokens of replies that were guessed ahead.", "model"
        )
        self.accepted_tokens = Counter(
            "corral_accepted_tokens_total", "Guessed tokens that were right.", "model"
        )
        self.key_tokens = Counter(
            "corral_key_tokens_total", "Tokens of an API key's prompts and replies.", "key", "kind"
        )
        self.loads = Counter(
            "corral_model_loads_total", "Models that began to load, by reason.", "model", "reason"
        )
        self.evictions = Counter(
            "corral_evictions_total", "Models that were unloaded, by reason.", "model", "reason"
        )
        self.restarts = Counter(
            "corral_engine_restarts_total",
            "Engines that ended by themselves or failed to load.",
            "model",
            "reason",
        )
        self.refusals = Counter(
            "corral_refusals_total", "Requests that got no model, by reason.", "model", "reason"
        )
        self._families: list[Family] = [
            self.requests, self.durations, self.first_token, self.token_time, self.gaps, self.queue, self.load,
            self.prompt_tokens, self.cached_tokens, self.generated_tokens, self.guessed_tokens,
            self.accepted_tokens, self.key_tokens, self.loads, self.evictions,
            self.restarts, self.refusals, *self._gauges(), *sources, *process_families(),
        ]  # fmt: skip
        if has_vllm_names:
            from corral.metrics.vllm import aliases

            self._families += aliases(self)

    def watch(
        self, models: Callable[[], Iterable[RunnerState]], waiting: Callable[[], Iterable[str]]
    ) -> None:
        """Read gauges at each look from these: the loaded models, and the model of each request that has none yet."""
        self._models, self._waiting = models, waiting

    def add(self, families: Iterable[Family]) -> None:
        """Show more families, which others count."""
        self._families += families

    @property
    def families(self) -> Sequence[Family]:
        return self._families

    def model_label(self, name: str) -> str:
        """The label of a model that exists."""
        if name in self._known:
            return name
        if len(self._known) >= _MAX_MODELS:
            return OTHER
        self._known.add(name)
        return name

    def served(self, request: Served, facts: RequestFacts) -> None:
        """Count a request. Its model becomes a label only if a runner was granted to it."""
        model = self.model_label(facts.served_model) if facts.served_model else ""
        self.requests.add(1, request.surface, request.route, model, str(request.status), request.reason)
        self.durations.observe(request.seconds, request.surface, model)
        if not model:
            return
        if self._has_keys and request.key and not request.is_hop:
            self.key_tokens.add(facts.prompt_tokens, request.key, "prompt")
            self.key_tokens.add(facts.tokens, request.key, "generated")
        if facts.is_elsewhere:
            return  # the node that has the model counts what it did
        self.queue.observe(facts.queue_ns / _NS_PER_S, model)
        if facts.prompt_tokens:
            self.prompt_tokens.add(facts.prompt_tokens, model)
            self.cached_tokens.add(facts.cached_tokens, model)
        if facts.guessed_tokens:
            self.guessed_tokens.add(facts.guessed_tokens, model)
            self.accepted_tokens.add(facts.accepted_tokens, model)
        if facts.tokens:
            self.generated_tokens.add(facts.tokens, model)
            if facts.predicted_ns:
                self.token_time.observe(facts.predicted_ns / _NS_PER_S / facts.tokens, model)
        if facts.first_piece_ns:
            first_s = (facts.first_piece_ns - facts.begun_ns) / _NS_PER_S
            self.first_token.observe(first_s, model, _cached_word(facts))
            self.gaps.merge(facts.gap_counts, facts.gap_ns / _NS_PER_S, model)

    def decided(self, decision: Decision) -> None:
        """Count a decision of the scheduler."""
        counter = {
            "loading": self.loads,
            "unloaded": self.evictions,
            "runner ended": self.restarts,
            "load failed": self.restarts,
            "refused": self.refusals,
        }.get(decision.kind)
        if counter is not None:
            counter.add(1, self.model_label(decision.model), decision.cause)
        elif decision.kind == "loaded":
            self.load.observe(float(decision.facts["seconds"]), self.model_label(decision.model))

    def _gauges(self) -> list[Gauge]:
        def each(value: Callable[[RunnerState], float]) -> Callable[[], Iterable[Sample]]:
            return lambda: [((self.model_label(state.name),), value(state)) for state in self._models()]

        def memory() -> Iterable[Sample]:
            for state in self._models():
                name = self.model_label(state.name)
                yield (name, "gpu"), state.vram_bytes
                yield (name, "cpu"), max(state.memory_bytes - state.vram_bytes, 0)

        def waiting() -> Iterable[Sample]:
            counts: dict[str, int] = {}
            for state in self._models():
                counts[state.name] = counts.get(state.name, 0) + state.waiting_count
            for name in self._waiting():
                counts[name] = counts.get(name, 0) + 1
            return [((self.model_label(name),), count) for name, count in counts.items()]

        model: Labels = ("model",)
        version = ("version",)
        return [
            Gauge("corral_store_bytes", "Blobs in the models folder.", (), lambda: [((), self.store_bytes)]),
            Gauge(
                "corral_store_free_bytes",
                "Free space on the disk of the models folder.",
                (),
                lambda: [((), self.free_bytes)],
            ),
            Gauge("corral_build_info", "The version that runs.", version, lambda: [((__version__,), 1)]),
            Gauge("corral_model_loaded", "Models that are loaded.", model, each(lambda state: 1)),
            Gauge("corral_model_memory_bytes", "Memory of loaded models.", (*model, "kind"), memory),
            Gauge("corral_requests_running", "Requests in slots.", model, each(lambda s: s.running_count)),
            Gauge("corral_requests_waiting", "Requests that wait for a model or a slot.", model, waiting),
            Gauge(
                "corral_slots", "Requests that a model serves at a time.", model, each(lambda s: s.slot_count)
            ),
            Gauge(
                "corral_kv_usage_ratio",
                "Share of the context of all slots that running requests hold.",
                model,
                each(lambda s: s.context_ratio),
            ),
            Gauge(
                "corral_slots_busy",
                "Slots in use.",
                model,
                each(lambda s: min(s.running_count, s.slot_count)),
            ),
        ]


def _cached_word(facts: RequestFacts) -> str:
    if not facts.cached_tokens:
        return "no"
    # The engine always computes the last token of a prompt.
    return "yes" if facts.cached_tokens >= facts.prompt_tokens - 1 else "part"
