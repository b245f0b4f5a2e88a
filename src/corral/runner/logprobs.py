"""Log probabilities of a reply, an entry for each of its tokens, from events that describe pieces of its text.

The engine sends whole characters, and holds back what may become a stop sequence. So an event may carry the text of
several tokens: of those that were held back it gave entries without text before, of those that ended within a
character it gives none at all. Here each token gets its own bytes.
"""

from __future__ import annotations

from typing import Any

from corral.types import Logprob, TopLogprob

# The engine does not report it. The sum over a reply is then what the engine's own entries add up to.
_UNKNOWN_LOGPROB = 0.0


class LogprobReader:
    """Reads the events of one reply, in order; `top_count` rivals are kept of each token."""

    def __init__(self, top_count: int) -> None:
        self._top_count = top_count
        self._token_count = 0
        # Entries whose text has not come yet; None for a token about which nothing is known.
        self._waiting: list[dict[str, Any] | None] = []

    def read(self, event: dict[str, Any]) -> tuple[Logprob, ...]:
        """The entries that an event completes: their bytes add up to its text."""
        entries: list[dict[str, Any]] = event.get("completion_probabilities", [])
        expected_count = self._token_count + len(entries)
        self._token_count = event.get("tokens_predicted", expected_count)
        missing = self._token_count - expected_count
        if entries and missing > 0 and not _is_whole(entries[0]):
            self._waiting += [None] * missing
        self._waiting += entries
        if not event["content"]:
            return ()
        taken, self._waiting = self._waiting, []
        if not taken:
            return ()
        text = bytes(taken[-1]["bytes"]) if taken[-1] and entries else event["content"].encode()
        parts = _split(text, [_piece(entry) if entry else None for entry in taken])
        return tuple(self._logprob(entry, part) for entry, part in zip(taken, parts, strict=True))

    def _logprob(self, entry: dict[str, Any] | None, part: bytes) -> Logprob:
        if entry is None:
            itself = TopLogprob(_shown(part), _UNKNOWN_LOGPROB, tuple(part))
            return Logprob(itself.token, itself.logprob, itself.bytes, (itself,) if self._top_count else ())
        top = tuple(
            TopLogprob(_shown(bytes(rival["bytes"])), rival["logprob"], tuple(rival["bytes"]))
            for rival in entry["top_logprobs"][: self._top_count]
        )
        return Logprob(_shown(part), entry["logprob"], tuple(part), top)


def _piece(entry: dict[str, Any]) -> bytes | None:
    """The bytes of an entry's token; None if it is not among its own rivals, which alone have theirs."""
    return next(
        (bytes(rival["bytes"]) for rival in entry["top_logprobs"] if rival["id"] == entry["id"]), None
    )


def _is_whole(entry: dict[str, Any]) -> bool:
    """Whether an entry's text is that of its token alone."""
    return _piece(entry) == bytes(entry["bytes"])


def _split(text: bytes, pieces: list[bytes | None]) -> list[bytes]:
    """A text as one part for each token; a part is the token's own piece where that is known and fits."""
    first, last = 0, len(pieces) - 1
    head: list[bytes] = []
    tail: list[bytes] = []
    while first < last:
        if (piece := pieces[last]) is not None and text.endswith(piece):
            text = text.removesuffix(piece)
            tail.append(piece)
            last -= 1
            continue
        if (piece := pieces[first]) is None or not text.startswith(piece):
            # Tokens that end within a character are of one byte, nearly always; the first has what is before it too.
            piece = text[: max(len(text) - (last - first), 0)]
        text = text[len(piece) :]
        head.append(piece)
        first += 1
    return [*head, text, *reversed(tail)]


def _shown(part: bytes) -> str:
    """The text of a token; bytes that are not text by themselves as `\\\\xNN`, as OpenAI shows them."""
    return part.decode("utf-8", "backslashreplace")
