"""Log probabilities: an entry for each token, whose bytes add up to the text, however the engine cuts it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runner.logprobs import LogprobReader


def event(
    text: bytes, piece: bytes, count: int, token_id: int = 7, *, is_known: bool = True
) -> dict[str, Any]:
    """An event of the engine: `text` is sent, the token itself is `piece`, `count` tokens were made so far."""
    rival = {"id": token_id if is_known else -1, "token": "", "bytes": list(piece), "logprob": -0.5}
    entry = {"id": token_id, "token": "", "bytes": list(text), "logprob": -0.5, "top_logprobs": [rival]}
    return {
        "content": text.decode("utf-8", "replace"),
        "tokens_predicted": count,
        "completion_probabilities": [entry],
    }


def parts(reader: LogprobReader, *events: dict[str, Any]) -> list[bytes]:
    return [bytes(entry.bytes) for each in events for entry in reader.read(each)]


def test_a_token_with_its_own_text() -> None:
    """The usual case; the rivals' bytes are the engine's own."""
    (entry,) = LogprobReader(1).read(event(b" two", b" two", 1))
    assert (entry.token, entry.logprob, bytes(entry.bytes)) == (" two", -0.5, b" two")
    assert [bytes(rival.bytes) for rival in entry.top] == [b" two"]


def test_a_character_of_two_tokens() -> None:
    """The first has no event of its own; its text is shown as bytes."""
    first, second = LogprobReader(1).read(event("Grüße".encode(), b"\xbc\xc3\x9fe", 2))
    assert (bytes(first.bytes), first.token) == (b"Gr\xc3", "Gr\\xc3")
    assert (bytes(second.bytes), second.token) == (b"\xbc\xc3\x9fe", "\\xbcße")
    assert first.top
    assert second.top[0].token == "\\xbcße"


@pytest.mark.parametrize("is_known", [True, False])
def test_a_character_of_four_tokens(is_known: bool) -> None:
    """One byte each, whether the engine names the last one or not."""
    found = parts(LogprobReader(0), event("😀".encode(), b"\x80", 4, is_known=is_known))
    assert found == [b"\xf0", b"\x9f", b"\x98", b"\x80"]


def test_thousands_of_tokens_at_once() -> None:
    """A long stop sequence holds back that many."""
    reader = LogprobReader(0)
    held = [event(b"", f"{i} ".encode(), i + 1) for i in range(3000)]
    assert parts(reader, *held) == []
    text = "".join(f"{i} " for i in range(3000)).encode()
    found = parts(reader, event(text + b"end", b"end", 3001))
    assert found == [*(f"{i} ".encode() for i in range(3000)), b"end"]


def test_text_that_was_held_back() -> None:
    """It may have become a stop sequence: its entries come with the text."""
    reader = LogprobReader(1)
    assert reader.read(event(b"", b" two", 1)) == ()
    assert parts(reader, event(b" two HALT", b" HALT", 2)) == [b" two", b" HALT"]
    assert parts(reader, event(b" on", b" on", 3)) == [b" on"]


def test_text_that_a_stop_sequence_cut() -> None:
    """What is left of it; entries of the sequence itself, and of the end token, are no part of the text."""
    reader = LogprobReader(1)
    assert parts(reader, event(b" ", b" HALT", 1)) == [b" "]
    assert reader.read(event(b"", b"", 2)) == ()
    assert reader.read({"content": "", "tokens_predicted": 2}) == ()


def test_tokens_that_a_draft_model_proposed() -> None:
    """They are counted all at once, before the first is sent."""
    reader = LogprobReader(1)
    assert parts(reader, event(b"a", b"a", 3), event(b"b", b"b", 3), event(b"c", b"c", 3)) == [
        b"a",
        b"b",
        b"c",
    ]


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_bytes_add_up(texts: list[str], data: st.DataObject) -> None:
    """For every way to cut a text into tokens there is an entry for each, and no byte is lost."""
    whole = "".join(texts).encode("utf-8", "replace")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8))) if len(whole) > 1 else []
    tokens = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    reader = LogprobReader(data.draw(st.integers(0, 2)))
    found: list[bytes] = []
    sent = b""
    for count, token in enumerate(tokens, 1):
        sent += token
        try:
            sent.decode()
        except UnicodeDecodeError:
            continue  # the engine is silent until the character is whole
        found += parts(reader, event(sent, token, count, is_known=data.draw(st.booleans())))
        sent = b""
    assert b"".join(found) == whole
    assert len(found) == len(tokens)
