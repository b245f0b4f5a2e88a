"""What a request of a limited caller may use: its ledger, refusals, and headers that say how much is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil

from corral.access.limits import DAY_S, Kind, Ledger, Refusal
from corral.errors import RateLimitError

Headers = list[tuple[bytes, bytes]]

# An answer for which no bound was asked gets at most this many tokens of a caller whose tokens are counted.
USUAL_PREDICT = 4096
# Fewer are not worth an answer.
_LEAST_PREDICT = 16
_TEXTS: dict[Kind, str] = {
    "requests": "too many requests: {rpm} a minute are allowed",
    "tokens": "too many tokens: {tpm} a minute are allowed",
    "day": "too many tokens: {tokens_per_day} a day are allowed",
    "parallel": "too many requests at a time: {max_parallel} are allowed",
}


class KeyAllowance:
    """Of one request. `headers` are those of its answer, as long as it has not begun.

    Minutes are counted by `clock_s`, which nobody sets; only the day is that of the machine's clock, `wall_s`.
    """

    def __init__(
        self,
        ledger: Ledger,
        headers: Headers,
        clock_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._headers = headers
        self._clock_s = clock_s
        self._wall_s = wall_s

    def reserve(self, prompt_tokens: int, wanted: int) -> KeyReservation:
        """See `allowance.Allowance`."""
        ledger, now_s, wall_s = self._ledger, self._clock_s(), self._wall_s()
        ledger.look(now_s, int(wall_s // DAY_S))
        most = ledger.limits.max_predict
        predict = most if most and not 0 <= wanted <= most else wanted
        left = ledger.left(now_s)
        if left is None:
            return KeyReservation(self, 0, predict)
        if predict < 0:
            predict = USUAL_PREDICT
        # A short answer at the end of a budget is better than none, but not one of a few words.
        predict = min(predict, max(left - prompt_tokens, min(predict, _LEAST_PREDICT)))
        if refusal := ledger.reserve(prompt_tokens + predict, now_s):
            error = refused(ledger, refusal, wall_s)
            self._headers.append((b"retry-after", b"%d" % max(ceil(error.retry_after_s), 1)))
            raise error
        return KeyReservation(self, prompt_tokens + predict, predict)

    def settle(self, reserved: int, used: int) -> None:
        """Count what a call of the engine used."""
        now_s = self._clock_s()
        self._ledger.look(now_s, int(self._wall_s() // DAY_S))
        self._ledger.settle(reserved, used, now_s)


class HopAllowance:
    """Of a request that another server of the cluster passes on: that one counts; here only the answer is bounded."""

    def __init__(self, predict: int) -> None:
        self._predict = predict

    def reserve(self, prompt_tokens: int, wanted: int) -> HopReservation:
        """See `allowance.Allowance`."""
        return HopReservation(wanted if 0 <= wanted <= self._predict else self._predict)


class HopReservation:
    """See `allowance.Reservation`."""

    def __init__(self, predict: int) -> None:
        self.predict = predict

    def settle(self, used: int) -> None:
        """Nothing is counted."""


class KeyReservation:
    """See `allowance.Reservation`."""

    def __init__(self, allowance: KeyAllowance, reserved: int, predict: int) -> None:
        self.predict = predict
        self._allowance = allowance
        self._reserved = reserved

    def settle(self, used: int) -> None:
        self._allowance.settle(self._reserved, used)


def refused(ledger: Ledger, refusal: Refusal, wall_s: float) -> RateLimitError:
    """The error for a refusal, at this time of the machine's clock."""
    wait_s = refusal.wait_s
    if refusal.kind == "day" and wait_s >= DAY_S:
        wait_s = DAY_S - wall_s % DAY_S
    limits = ledger.limits
    text = _TEXTS[refusal.kind].format(
        rpm=limits.rpm, tpm=limits.tpm, tokens_per_day=limits.tokens_per_day, max_parallel=limits.max_parallel
    )
    return RateLimitError(text, retry_after_s=wait_s, hint=f"try again in {max(ceil(wait_s), 1)} s")


def headers_of(ledger: Ledger, now_s: float, wall_s: float) -> Headers:
    """How much is left: in the words that clients read today, and in those of the coming standard."""
    limits = ledger.limits
    found: Headers = []
    policies: list[str] = []
    states: list[str] = []
    rows = (
        ("requests", limits.rpm, ledger.requests.total, ledger.requests.wait_s(1, now_s)),
        ("tokens", limits.tpm, ledger.tokens.total + ledger.reserved, ledger.tokens.wait_s(1, now_s)),
    )
    for name, limit, used, reset_s in rows:
        if not limit:
            continue
        left = max(limit - used, 0)
        seconds = ceil(reset_s) if used else 0
        for what, value in (("limit", str(limit)), ("remaining", str(left)), ("reset", _duration(seconds))):
            found.append((f"x-ratelimit-{what}-{name}".encode(), value.encode()))
        policies.append(f'"{name}";q={limit};w=60')
        states.append(f'"{name}";r={left};t={seconds}')
    if limits.tokens_per_day:
        left = max(limits.tokens_per_day - ledger.spent_today - ledger.reserved, 0)
        policies.append(f'"day";q={limits.tokens_per_day};w={DAY_S}')
        states.append(f'"day";r={left};t={ceil(DAY_S - wall_s % DAY_S)}')
    if policies:
        found.append((b"ratelimit-policy", ", ".join(policies).encode()))
        found.append((b"ratelimit", ", ".join(states).encode()))
    return found


def _duration(seconds: int) -> str:
    """As OpenAI writes it: `1s`, `6m0s`."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
