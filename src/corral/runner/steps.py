"""A long prompt in steps, so that the streams of others go on while it is computed.

The engine computes up to a batch of a prompt between two tokens of every other stream: seconds on a CPU. So a prompt
is sent again and again, longer each time, and the engine computes what it does not have yet. Beside streams a step is
as large as lets their next token come in time.
"""

from __future__ import annotations

_FIRST_TOKENS = 16
_MIN_TOKENS = 4
_MAX_TOKENS = 2048
# A stream's tokens are to come at most three times as far apart as usual. Steps differ, hence less.
_TOKENS_TIME = 2.6
# A prompt is to take at most this many times as long as alone, whatever becomes of the streams.
_MOST_TIMES = 1.7
_FLOOR_GROWS, _FLOOR_SHRINKS = 1.25, 0.95
_MOST_FLOOR_TOKENS = 56.0
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


class Steps:
    """How many tokens to compute next. Learns how long a token of a stream and one of a prompt take.

    `alone_tokens`: a step when nobody else is served, a batch of the engine. `least_tokens`: the engine does more for
    each step of some models.
    """

    def __init__(self, alone_tokens: int = 512, least_tokens: int = _MIN_TOKENS) -> None:
        self.alone_tokens = alone_tokens
        self._least_tokens = max(least_tokens, _MIN_TOKENS)
        self._token_s = 0.0
        self._prompt_token_s = 0.0
        self._alone_token_s = 0.0
        self._floor_tokens = 0.0

    def note_gap(self, seconds: float) -> None:
        """The next token of a stream has come, while no prompt was computed."""
        if seconds <= 0:
            return
        if not self._token_s:
            self._token_s = seconds
        self._token_s *= _NEARER if seconds > self._token_s else 1 / _NEARER

    def note_step(self, computed: int, seconds: float, *, streams: int = 0) -> None:
        """So many tokens of a prompt were computed, beside streams; what was cached does not count."""
        if computed <= 0 or seconds <= 0:
            return
        shared_s = self._token_s if streams else 0.0
        found_s = max(seconds - shared_s, _LEAST_SHARE * seconds) / computed
        self._prompt_token_s = _nearer(self._prompt_token_s, found_s)
        if not streams:
            self._alone_token_s = _nearer(self._alone_token_s, seconds / computed)
        elif self._alone_token_s:
            is_slow = seconds / computed > _MOST_TIMES * self._alone_token_s
            grown = max(self._floor_tokens, computed) * _FLOOR_GROWS
            self._floor_tokens = grown if is_slow else self._floor_tokens * _FLOOR_SHRINKS
            self._floor_tokens = min(self._floor_tokens, _MOST_FLOOR_TOKENS)

    def size(self, streams: int, others: int) -> int:
        """Tokens of the next step, beside streams, and others that have none yet."""
        if not streams and not others:
            return self.alone_tokens
        if not self._prompt_token_s:
            return max(_FIRST_TOKENS, self._least_tokens)
        token_s = self._token_s or _GUESSED_TOKEN_S
        wanted_s = max(_TOKENS_TIME * token_s, _LEAST_S) - token_s if streams else _BEFORE_STREAMS_S
        least = max(self._least_tokens, self._floor_tokens if streams else 0)
        return int(min(max(wanted_s / self._prompt_token_s, least), _MAX_TOKENS))

    def is_worth_it(self, left: int, streams: int, others: int) -> bool:
        """Whether what is left of a prompt is more than one step."""
        size = self.size(streams, others)
        return left > size + size // 2


def _nearer(known_s: float, found_s: float) -> float:
    return known_s + (_SMOOTHING if known_s else 1.0) * (found_s - known_s)
