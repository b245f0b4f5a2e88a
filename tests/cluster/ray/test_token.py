"""Ray's token: made of the cluster key, and for its owner alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.cluster.ray.token import TokenError, check_token, ray_token, write_token


def test_it_is_made_of_the_key_and_does_not_show_it() -> None:
    token = ray_token("the key of a cluster")
    assert token == ray_token("the key of a cluster") != ray_token("the key of a cluster ")
    assert len(token) == 64 and int(token, 16) and "key" not in token


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_its_owner_can_read_it(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_token(tmp_path / "new" / "ray.token", "1" * 64)
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "ray.token").stat().st_mode & 0o777 == 0o600
    check_token(tmp_path / "new" / "ray.token")


def test_a_file_that_others_can_read_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ray.token"
    path.write_text("old")
    path.chmod(0o644)
    write_token(path, "2" * 64)
    assert path.read_text() == "2" * 64 and path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["ray.token"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("kept")
    (tmp_path / "ray.token").symlink_to(other)
    write_token(tmp_path / "ray.token", "3" * 64)
    assert other.read_text() == "kept" and not (tmp_path / "ray.token").is_symlink()


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ray.token"
    with pytest.raises(TokenError, match="cannot be read"):
        check_token(path)
    path.write_text("x")
    path.chmod(0o640)
    with pytest.raises(TokenError, match="others may read"):
        check_token(path)
    path.chmod(0o600)
    path.write_text(" \n")
    with pytest.raises(TokenError, match="is empty"):
        check_token(path)
    path.write_bytes(b"\xff")
    with pytest.raises(TokenError, match="cannot be read"):
        check_token(path)
    with pytest.raises(TokenError):
        write_token(path / "below a file", "x")
