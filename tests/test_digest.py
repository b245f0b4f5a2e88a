"""Digests: which texts are one, and those of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from corral.digest import Digest, hash_file
from corral.errors import InvalidDigestError

HEX = "0123456789abcdefABCDEF" + "7" * 42


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}"])
def test_both_forms(text: str) -> None:
    """The letters keep their case, because file names do."""
    digest = Digest.parse(text)
    assert digest.hex == HEX
    assert (digest.file_name(), str(digest)) == (f"sha256-{HEX}", f"sha256:{HEX}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        f"sha256:{HEX}0",
        f"sha256:{HEX[1:]}",
        f"sha256_{HEX}",
        f"sha256:{HEX[1:]}g",
        f"sha256:{HEX}\n",
    ],
)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest.parse(text)
    assert caught.value.digest == text


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (2 << 20) + 5])
def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path, size: int) -> None:
    """However many reads it takes."""
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    path = tmp_path / "blob"
    path.write_bytes(data)
    assert hash_file(path) == Digest.of(data) == Digest(hashlib.sha256(data).hexdigest())
