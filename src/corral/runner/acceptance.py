"""Whether guessing tokens pays for a model, by how many guesses were right.

Where nobody asked for it, a model for which it does not pay is loaded without, for a while that doubles each time.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from corral.bounded import BoundedCache
from corral.runner.interface import Final, RunnerSpec

_log = logging.getLogger("corral.runner")
_MAX_MODELS = 512
# Of a step of the model, what one guessed token more in it costs (docs/benchmarks.md).
_COST = 0.2
# A head computes each guess too.
_HEAD_COST = 0.35
# Slower than this share of the time without guesses is not worth it.
_MAX_LOSS = 0.02
_LEAST_TOKENS = 256
# Tokens after which what was before counts half.
_HALF_LIFE = 2048
_FIRST_PAUSE_S = 1800.0
_MAX_PAUSE_S = 86_400.0


class Acceptance:
    """Counts the answers of a model. Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._tokens = self._guessed = self._accepted = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._ends_s: float | None = None

    def note(self, tokens: int, guessed: int, accepted: int, now_s: float, *, is_head: bool = False) -> bool:
        """Count an answer of `tokens` tokens; whether it is now found not to pay.

        `guessed` tokens were verified in it, `accepted` of them were right; `is_head`: the model's head guessed them.
        """
        if tokens <= 0:
            return False
        kept = 0.5 ** (tokens / _HALF_LIFE)
        self._tokens = self._tokens * kept + tokens
        self._guessed = self._guessed * kept + guessed
        self._accepted = self._accepted * kept + accepted
        cost = self._guessed * (_HEAD_COST if is_head else _COST)
        if self._tokens < _LEAST_TOKENS or cost - self._accepted <= _MAX_LOSS * self._tokens:
            return False
        self._ends_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
        self._tokens = self._guessed = self._accepted = 0.0
        return True

    def pays(self, now_s: float) -> bool:
        """Whether the next load should guess."""
        return self._ends_s is None or now_s >= self._ends_s


class Guesses:
    """The counts of the models of a server, by their weights."""

    def __init__(self) -> None:
        self._models: BoundedCache[str, Acceptance] = BoundedCache(
            max_entries=_MAX_MODELS, max_bytes=_MAX_MODELS
        )

    def allowed(self, spec: RunnerSpec, *, is_external: bool) -> RunnerSpec:
        """The same without guesses that nobody asked for, where they did not pay or the engine may not know them."""
        if spec.speculation is None or not spec.speculation.is_automatic:
            return spec
        found = self._models.get(spec.weights_key)
        if is_external or (found is not None and not found.pays(time.monotonic())):
            return replace(spec, speculation=None)
        return spec

    def note(self, spec: RunnerSpec, final: Final) -> None:
        """Count an answer of a runner that was started so."""
        if spec.speculation is None or not spec.speculation.is_automatic:
            return
        found = self._models.get(spec.weights_key)
        if found is None:
            found = Acceptance()
            self._models.put(spec.weights_key, found, 1)
        is_head = spec.speculation.kind == "draft-mtp"
        counts = (final.predicted_count, final.draft_count, final.draft_accepted_count)
        if found.note(*counts, time.monotonic(), is_head=is_head):
            _log.info("guessed tokens are seldom right; the next load does without model=%s", spec.name)
