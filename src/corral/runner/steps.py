"""A long prompt in steps, so that the streams of others go on while it is computed.

The engine computes up to a batch of a prompt between two tokens of every other stream: seconds on a CPU. A prompt is
sent again and again, longer each time, and the engine computes what it does not have yet. A step is as large as what
takes about the time of two tokens. When nobody else is served the rest goes at once.
"""

from __future__ import annotations

_FIRST_TOKENS = 32
_MIN_TOKENS = 8
_MAX_TOKENS = 2048
# Three times the usual distance of tokens is what a reader may notice.
_STEP_TOKENS = 2.0
_LEAST_S = 0.05
_GUESSED_TOKEN_S = 0.05
_SMOOTHING = 0.3


class Steps:
    """How many tokens to compute next. Learns how long a token of a stream and one of a prompt take."""

    def __init__(self) -> None:
        self._token_s = _GUESSED_TOKEN_S
        self._prompt_token_s = 0.0

    def note_stream(self, tokens: int, seconds: float) -> None:
        """A stream has ended."""
        if tokens > 1 and seconds > 0:
            self._token_s += _SMOOTHING * (seconds / tokens - self._token_s)

    def note_step(self, computed: int, seconds: float) -> None:
        """A step has computed so many tokens of a prompt; what was cached does not count."""
        if computed > 0 and seconds > 0:
            share = _SMOOTHING if self._prompt_token_s else 1.0
            self._prompt_token_s += share * (seconds / computed - self._prompt_token_s)

    @property
    def size(self) -> int:
        """Tokens of the next step."""
        if not self._prompt_token_s:
            return _FIRST_TOKENS
        wanted = max(_STEP_TOKENS * self._token_s, _LEAST_S) / self._prompt_token_s
        return int(min(max(wanted, _MIN_TOKENS), _MAX_TOKENS))

    def is_worth_it(self, left: int) -> bool:
        """Whether what is left of a prompt is more than one step."""
        return left > self.size + self.size // 2
