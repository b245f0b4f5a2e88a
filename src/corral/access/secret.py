"""The text of an API key: `ck_<id>_<secret>`, what is stored of it, and how a mistyped one shows.

The id has 8 characters of a-z and 0-9. The secret has 43 letters and digits: 39 random ones (232 bits) and 4 that are
a checksum of all before them, by which scanners of source code, and the command line, know a whole key. A random
secret needs no slow hash: SHA-256 is stored.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib

PREFIX = "ck_"
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARS = 8
_RANDOM_CHARS = 39
_CHECK_CHARS = 4
_ID = re.compile(r"[a-z0-9]{8}", re.ASCII)
_FORM = re.compile(r"ck_[a-z0-9]{8}_[0-9A-Za-z]{43}", re.ASCII)


def new_id() -> str:
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_CHARS))


def new_secret(key_id: str) -> str:
    """A new key, whole, for an id."""
    text = f"{PREFIX}{key_id}_" + "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM_CHARS))
    return text + _checksum(text)


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def is_whole(text: str) -> bool:
    """Whether a text is a key with all its characters right. Says nothing about whether it is valid anywhere."""
    return _FORM.fullmatch(text) is not None and text[-_CHECK_CHARS:] == _checksum(text[:-_CHECK_CHARS])


def id_of(text: str) -> str:
    """The id in a text that may be a key."""
    return text[len(PREFIX) : len(PREFIX) + _ID_CHARS]


def digest_of(text: str) -> bytes:
    """What is stored of a key, 32 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode("ascii"))
    letters = ""
    for _ in range(_CHECK_CHARS):
        number, place = divmod(number, len(_LETTERS))
        letters = _LETTERS[place] + letters
    return letters
