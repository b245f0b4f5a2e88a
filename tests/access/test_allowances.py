"""What is set aside for an answer, what is said of what is left, and how a refusal reads."""

from __future__ import annotations

import pytest

from corral.access.allowances import HopAllowance, KeyAllowance, headers_of, refused
from corral.access.limits import DAY_S, WINDOW_S, Kind, Ledger, Refusal
from corral.caller import Limits
from corral.errors import RateLimitError

# Minutes are counted by a clock that nobody sets, days by that of the machine.
NOW_S = 500.0
WALL_S = 100 * DAY_S + 3600.5
DAY = 100


def allowed(
    limits: Limits, *, reserved: int = 0, spent: int = 0
) -> tuple[KeyAllowance, Ledger, list[object]]:
    ledger = Ledger(limits, day=DAY, spent_today=spent)
    ledger.reserved = reserved
    headers: list[tuple[bytes, bytes]] = []
    return KeyAllowance(ledger, headers, lambda: NOW_S, lambda: WALL_S), ledger, headers  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("limits", "wanted", "predict", "reserved"),
    [
        (Limits(), -1, -1, 0),
        (Limits(), 7, 7, 0),
        (Limits(max_predict=50), -1, 50, 0),
        (Limits(max_predict=50), 0, 0, 0),
        (Limits(max_predict=50), 50, 50, 0),
        (Limits(max_predict=50), 51, 50, 0),
        (Limits(tpm=9000), -1, 4096, 4196),
        (Limits(tpm=9000), 0, 0, 100),
        (Limits(tpm=9000, max_predict=50), -1, 50, 150),
        (Limits(tpm=200), -1, 100, 200),  # a short answer is better than none
        (Limits(tpm=200), 500, 100, 200),
        (Limits(tpm=116), -1, 16, 116),
        (Limits(tpm=105), 5, 5, 105),
    ],
)
def test_what_an_answer_may_have(limits: Limits, wanted: int, predict: int, reserved: int) -> None:
    allowance, ledger, headers = allowed(limits)
    reservation = allowance.reserve(100, wanted)
    assert (reservation.predict, ledger.reserved, headers) == (predict, reserved, [])
    reservation.settle(90)
    assert (ledger.reserved, ledger.spent_today) == (0, 90)
    assert ledger.tokens.total == (90 if limits.tpm else 0)


@pytest.mark.parametrize(("wanted", "tpm"), [(-1, 115), (16, 115), (5, 104), (0, 99)])
def test_too_little_is_refused(wanted: int, tpm: int) -> None:
    """An answer of a few words is asked for, or none is given; the header says when."""
    allowance, ledger, headers = allowed(Limits(tpm=tpm))
    with pytest.raises(RateLimitError, match=f"too many tokens: {tpm} a minute are allowed"):
        allowance.reserve(100, wanted)
    assert ledger.reserved == 0
    assert headers == [(b"retry-after", b"60")]


def test_what_is_old_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tokens of more than a minute ago nor those of yesterday."""
    allowance, ledger, _ = allowed(Limits(tpm=200, tokens_per_day=200), spent=200)
    ledger.day = DAY - 1
    ledger.tokens.add(200, NOW_S - WINDOW_S - 1)
    reservation = allowance.reserve(100, 100)
    ledger.day, ledger.spent_today = DAY - 1, 200
    reservation.settle(50)
    assert (ledger.day, ledger.spent_today, ledger.tokens.total) == (DAY, 50, 50)


@pytest.mark.parametrize(("wanted", "predict"), [(-1, 5), (0, 0), (5, 5), (6, 5), (4, 4)])
def test_for_another_server_only_the_answer_is_bounded(wanted: int, predict: int) -> None:
    reservation = HopAllowance(5).reserve(10**9, wanted)
    assert reservation.predict == predict
    reservation.settle(10**9)
    assert reservation.predict == predict


@pytest.mark.parametrize(
    ("kind", "wait_s", "text", "retry_after_s", "hint"),
    [
        ("requests", 0.0, "too many requests: 1 a minute are allowed", 0.0, "try again in 1 s"),
        ("requests", 1.2, "too many requests: 1 a minute are allowed", 1.2, "try again in 2 s"),
        ("tokens", 60.0, "too many tokens: 2 a minute are allowed", 60.0, "try again in 60 s"),
        ("parallel", 1.0, "too many requests at a time: 4 are allowed", 1.0, "try again in 1 s"),
        ("day", 1.0, "too many tokens: 3 a day are allowed", 1.0, "try again in 1 s"),
        ("day", float(DAY_S), "too many tokens: 3 a day are allowed", 82799.5, "try again in 82800 s"),
    ],
)
def test_a_refusal(kind: Kind, wait_s: float, text: str, retry_after_s: float, hint: str) -> None:
    """A day that is used up ends at midnight in UTC."""
    error = refused(Ledger(Limits(1, 2, 3, 4)), Refusal(kind, wait_s), WALL_S)
    assert (str(error), error.retry_after_s, error.hint) == (text, retry_after_s, hint)


def test_the_headers() -> None:
    """Only of what is limited; a minute more than 60 seconds is written as OpenAI writes it."""
    assert headers_of(Ledger(Limits()), NOW_S, WALL_S) == []
    ledger = Ledger(Limits(rpm=5, tpm=100, tokens_per_day=1000, max_parallel=3), day=DAY, spent_today=300)
    assert headers_of(ledger, NOW_S, WALL_S) == [
        (b"x-ratelimit-limit-requests", b"5"),
        (b"x-ratelimit-remaining-requests", b"5"),
        (b"x-ratelimit-reset-requests", b"0s"),
        (b"x-ratelimit-limit-tokens", b"100"),
        (b"x-ratelimit-remaining-tokens", b"100"),
        (b"x-ratelimit-reset-tokens", b"0s"),
        (b"ratelimit-policy", b'"requests";q=5;w=60, "tokens";q=100;w=60, "day";q=1000;w=86400'),
        (b"ratelimit", b'"requests";r=5;t=0, "tokens";r=100;t=0, "day";r=700;t=82800'),
    ]
    ledger.requests.add(2, NOW_S)
    ledger.tokens.add(30, NOW_S - 20)
    ledger.reserved = 90
    assert headers_of(ledger, NOW_S, WALL_S) == [
        (b"x-ratelimit-limit-requests", b"5"),
        (b"x-ratelimit-remaining-requests", b"3"),
        (b"x-ratelimit-reset-requests", b"1m1s"),
        (b"x-ratelimit-limit-tokens", b"100"),
        (b"x-ratelimit-remaining-tokens", b"0"),
        (b"x-ratelimit-reset-tokens", b"41s"),
        (b"ratelimit-policy", b'"requests";q=5;w=60, "tokens";q=100;w=60, "day";q=1000;w=86400'),
        (b"ratelimit", b'"requests";r=3;t=61, "tokens";r=0;t=41, "day";r=610;t=82800'),
    ]
    ledger.spent_today = 1000
    assert headers_of(ledger, NOW_S, WALL_S)[-1][1].endswith(b'"day";r=0;t=82800')


def test_headers_of_tokens_alone() -> None:
    """What is reserved counts as used, and is given back at once at best."""
    ledger = Ledger(Limits(tpm=100))
    ledger.reserved = 10
    assert headers_of(ledger, NOW_S, WALL_S) == [
        (b"x-ratelimit-limit-tokens", b"100"),
        (b"x-ratelimit-remaining-tokens", b"90"),
        (b"x-ratelimit-reset-tokens", b"1m0s"),
        (b"ratelimit-policy", b'"tokens";q=100;w=60'),
        (b"ratelimit", b'"tokens";r=90;t=60'),
    ]
