"""Addresses without the user names and passwords in them, for whatever people or logs get to see."""

from __future__ import annotations

import re

_MASK = "***@"
# What stands before the last @ of an authority. The second form is a password with a slash in it: it follows what
# cannot be a port.
_WITH_SCHEME = re.compile(r"(://)(?:[^/?#\s]*|[^/?#\s:@]*:(?![0-9]*(?:[/?#\s]|$))\S*)@")
# The same without a scheme, also as in `HOST=NAME:PASSWORD@HOST`.
_BARE = re.compile(r"^((?:[^\s=@/:]+=)?)[^\s/@:]+:(?!//)\S*@")


def without_userinfo(text: str) -> str:
    """A text with `***@` in place of the user names and passwords of its URLs; anything else is as it was."""
    if "@" not in text:
        return text
    return _BARE.sub(rf"\1{_MASK}", _WITH_SCHEME.sub(rf"\1{_MASK}", text))
