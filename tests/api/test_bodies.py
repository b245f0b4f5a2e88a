"""Request bodies: what unpacks, what does not, that a small one cannot become huge, and where they are parsed."""

from __future__ import annotations

import asyncio
import threading

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from corral.api.http.bodies import _unpack, parse_body
from corral.errors import InvalidRequestError

LIMIT = 1 << 20


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4))
def test_frames_in_a_row_unpack_to_their_contents_in_order(contents: list[bytes]) -> None:
    body = b"".join(zstandard.ZstdCompressor().compress(content) for content in contents)
    assert _unpack(body, LIMIT) == b"".join(contents)


@given(st.binary(min_size=300, max_size=3000), st.data())
def test_a_body_cut_anywhere_is_refused(content: bytes, data: st.DataObject) -> None:
    body = zstandard.ZstdCompressor().compress(content)
    cut = data.draw(st.integers(4, len(body) - 1))
    with pytest.raises(InvalidRequestError, match="unexpected EOF"):
        _unpack(body[:cut], LIMIT)


@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_unpack_or_are_refused(body: bytes) -> None:
    try:
        _unpack(b"\x28\xb5\x2f\xfd" + body, LIMIT)
    except InvalidRequestError as error:
        assert str(error)


def test_what_is_not_zstd_is_told_so() -> None:
    with pytest.raises(InvalidRequestError, match="invalid input: magic number mismatch"):
        _unpack(b'{"model":"m"}', LIMIT)


def test_a_bomb_is_stopped_at_the_bound() -> None:
    """200 MiB of zeros are some KiB of frame."""
    body = zstandard.ZstdCompressor(level=19).compress(bytes(200 << 20))
    assert len(body) < 100_000
    with pytest.raises(InvalidRequestError, match="http: request body too large"):
        _unpack(body, LIMIT)


def test_endless_empty_frames_are_refused() -> None:
    empty = zstandard.ZstdCompressor().compress(b"")
    with pytest.raises(InvalidRequestError, match="more than 64 frames"):
        _unpack(empty * 1000, LIMIT)


@pytest.mark.parametrize(("size", "is_elsewhere"), [(1000, False), (1 << 20, True)])
def test_large_bodies_are_parsed_beside_the_event_loop(size: int, is_elsewhere: bool) -> None:
    """Or a long prompt would hold up the streams of all others; what `parse` raises arrives all the same."""

    def parse(body: bytes, divisor: int) -> tuple[int, int]:
        if not divisor:
            raise InvalidRequestError("no")
        return len(body) // divisor, threading.get_ident()

    found, thread = asyncio.run(parse_body(b"x" * size, parse, 2))
    assert (found, thread != threading.get_ident()) == (size // 2, is_elsewhere)
    with pytest.raises(InvalidRequestError, match="no"):
        asyncio.run(parse_body(b"x" * size, parse, 0))
