"""Passwords in URLs are not shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.urlsecrets import without_userinfo


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:word@mirror/a?b#c", "https://***@mirror/a?b#c"),
        ("https://token@mirror", "https://***@mirror"),
        ("https://me:wo/rd@mirror/x", "https://***@mirror/x"),
        ("https://me:wo?rd#@mirror/x", "https://***@mirror/x"),
        ("https://me:wo@rd@mirror", "https://***@mirror"),
        ("https://me:wo,rd@mirror", "https://***@mirror"),
        ("https://:word@mirror", "https://***@mirror"),
        ("socks5h://me:word@proxy:1080", "socks5h://***@proxy:1080"),
        ("hf.co=https://me:word@mirror", "hf.co=https://***@mirror"),
        ("hf.co=me:word@mirror", "hf.co=***@mirror"),
        ("me:word@proxy:3128", "***@proxy:3128"),
        ("see https://a:b@one and https://c:d@two", "see https://***@one and https://***@two"),
        ("https://mirror:8443/a@b", "https://mirror:8443/a@b"),
        ("https://mirror/~user/@latest", "https://mirror/~user/@latest"),
        ("[2001:db8::1]:11434", "[2001:db8::1]:11434"),
        ("unix:///run/a@b.sock", "unix:///run/a@b.sock"),
        ("/models/me@home", "/models/me@home"),
        ("me@home", "me@home"),
        ("", ""),
    ],
)
def test_userinfo(text: str, shown: str) -> None:
    assert without_userinfo(text) == shown


_WORDS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
_PASSWORDS = st.text(st.sampled_from("abcXYZ0189!$&'()*+,;=-._~%@"), min_size=1).map(
    lambda text: f"Pw{text}wP"
)


@given(scheme=st.sampled_from(["http", "https", "socks5"]), user=_WORDS, password=_PASSWORDS, host=_WORDS)
def test_no_password_is_left(scheme: str, user: str, password: str, host: str) -> None:
    shown = without_userinfo(f"{scheme}://{user}:{password}@{host}:80/x")
    assert shown == f"{scheme}://***@{host}:80/x"
