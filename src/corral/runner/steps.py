"""A long prompt in steps, so that the streams of others go on while it is computed.

The engine computes up to a batch of a prompt between two tokens of every other stream: seconds on a CPU. So a prompt
is sent again and again, longer each time, and the engine computes what it does not have yet. Beside streams a step is
as large as lets their next token come in time.
"""

from __future__ import annotations

import math

from corral.runner.interface import RunnerSpec

_FIRST_TOKENS = 16
_MIN_TOKENS = 4
_MAX_TOKENS = 2048
# The engine keeps a state for each step of a model whose cache cannot be cut.
_COSTLY_STEP_TOKENS = 64
_NEVER = 1 << 30
# From 64 on, llama.cpp's attention on CPUs takes a fraction of the time for each. The first token of a step is
# computed with those of the streams.
_LARGE_TOKENS = 65
# A stream's tokens are to come at most three times as far apart as usual. Steps differ, hence less.
_TOKENS_TIME = 2.6
# What nobody notices.
_LEAST_S = 0.02
# Nobody has a stream yet, but somebody is about to.
_BEFORE_STREAMS_S = 0.25
_GUESSED_TOKEN_S = 0.05
# The distance of tokens is the middle one of those seen: what delays one says little.
_NEARER = 1.05
_SMOOTHING = 0.3
# A step has the next token of every stream in it too; the rest of its time is the prompt's.
_LEAST_SHARE = 0.3
_REGION_TOKENS = 512


class _Costs:
    """What a token of a prompt takes. Each is compared with those before it, so it depends on their number."""

    def __init__(self) -> None:
        self._token_s: dict[int, float] = {}

    def note(self, before: int, token_s: float) -> None:
        region = before // _REGION_TOKENS
        known_s = self._token_s.get(region)
        self._token_s[region] = token_s if known_s is None else known_s + _SMOOTHING * (token_s - known_s)

    def at(self, before: int) -> float:
        """Seconds, after the nearest number of others that is known; 0 if nothing is."""
        region = before // _REGION_TOKENS
        nearest = min(self._token_s, key=lambda known: abs(known - region), default=None)
        return 0.0 if nearest is None else self._token_s[nearest]


class Steps:
    """How many tokens to compute next. Learns how long a token of a stream and one of a prompt take.

    `alone_tokens`: a step when nobody else is served, a batch of the engine. `least_tokens`: the engine does more for
    each step of some models. `most_times`: how many times as long small steps may take as large ones, whatever
    becomes of the streams then. `before`: tokens of the prompt that the engine has.
    """

    def __init__(
        self, alone_tokens: int = 512, least_tokens: int = _MIN_TOKENS, *, most_times: float = 3.0
    ) -> None:
        self.alone_tokens = alone_tokens
        self._most_times = most_times
        self._least_tokens = max(least_tokens, _MIN_TOKENS)
        self._token_s = 0.0
        self._small, self._large = _Costs(), _Costs()

    @classmethod
    def for_model(cls, spec: RunnerSpec) -> Steps:
        if spec.keeps_checkpoints:
            return cls(_NEVER, _COSTLY_STEP_TOKENS, most_times=spec.prompt_slowdown)
        return cls(spec.num_batch, most_times=spec.prompt_slowdown)

    def note_gap(self, seconds: float) -> None:
        """The next token of a stream has come, while no prompt was computed."""
        if seconds <= 0:
            return
        if not self._token_s:
            self._token_s = seconds
        self._token_s *= _NEARER if seconds > self._token_s else 1 / _NEARER

    def note_step(self, computed: int, seconds: float, *, before: int = 0, streams: int = 0) -> None:
        """So many tokens of a prompt were computed, beside streams; what was cached does not count."""
        if computed <= 0 or seconds <= 0:
            return
        shared_s = self._token_s if streams else 0.0
        token_s = max(seconds - shared_s, _LEAST_SHARE * seconds) / computed
        costs = self._small if computed < _LARGE_TOKENS else self._large
        costs.note(before, token_s)

    def size(self, streams: int, others: int, before: int = 0) -> int:
        """Tokens of the next step, beside streams, and others that have none yet."""
        if not streams and not others:
            return self.alone_tokens
        token_s = self._token_s or _GUESSED_TOKEN_S
        wanted_s = max(_TOKENS_TIME * token_s, _LEAST_S) - token_s if streams else _BEFORE_STREAMS_S
        large_s = self._large.at(before)
        if large_s and wanted_s >= _LARGE_TOKENS * large_s:
            return int(min(wanted_s / large_s, _MAX_TOKENS))
        small_s = self._small.at(before) or large_s
        tokens = int(min(wanted_s / small_s, _LARGE_TOKENS - 1)) if small_s else _FIRST_TOKENS
        tokens = max(tokens, self._least_tokens)
        return max(tokens, self._cheap(small_s, large_s)) if streams and large_s else tokens

    def _cheap(self, small_s: float, large_s: float) -> int:
        """The smallest step whose tokens, with those of the streams, do not take much longer than in a large one."""
        shared_s = self._token_s or _GUESSED_TOKEN_S
        spare_s = self._most_times * (shared_s / _LARGE_TOKENS + large_s) - small_s
        tokens = math.ceil(shared_s / spare_s) if spare_s > 0 else _LARGE_TOKENS
        is_sooner = tokens * small_s < _LARGE_TOKENS * large_s
        return tokens if is_sooner else _LARGE_TOKENS

    def is_worth_it(self, left: int, streams: int, others: int, before: int = 0) -> bool:
        """Whether what is left of a prompt is more than one step."""
        size = self.size(streams, others, before)
        return left > size + size // (8 if streams else 2) + 1
