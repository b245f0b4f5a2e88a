"""Packed request bodies: what unpacks, what does not, and that a small body cannot become a huge one."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from corral.api.bodies import _unpack
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
