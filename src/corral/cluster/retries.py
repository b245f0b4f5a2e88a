"""Whether a request that a node did not answer may go to another one.

Only before the first byte of an answer: after it a client would get two beginnings. Only where nothing can have been
done twice that matters: a request for text changes nothing on a node.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_FURTHER = 2
# Bodies up to this size are kept so that they can be sent again.
MAX_KEPT_BYTES = 1 << 20
_ELSEWHERE = frozenset({502, 503})
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt at one node ended, without an answer that may be passed on.

    Attributes:
        status: of the node's answer; None: the connection failed, broke off, or took too long.
        has_begun: the client has got a byte of an answer.
        is_body_kept: the whole body can be sent again.
        number: 1 for the first node.
    """

    status: int | None
    number: int = 1
    has_begun: bool = False
    is_body_kept: bool = True


def may_retry(attempt: Attempt, *, has_capacity: bool, max_further: int = MAX_FURTHER) -> bool:
    """Whether to try another node.

    Args:
        has_capacity: another node could take it at once (`choose.is_free`), which decides after a 429.
    """
    if attempt.has_begun or not attempt.is_body_kept or attempt.number > max_further:
        return False
    if attempt.status is None or attempt.status in _ELSEWHERE:
        return True
    return attempt.status == _TOO_MANY and has_capacity


def is_failure(status: int | None) -> bool:
    """Whether an end speaks against the node: no connection, no answer, or a proxy before it that reaches nobody.

    A full queue (503, 429) does not: the node works.
    """
    return status is None or status == 502
