"""The built files of the page, with what is sent along with each of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import corral.web

_DIST = Path(corral.web.__file__).with_name("dist")
_PACKED = {".br": "br", ".gz": "gzip"}
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
# The build puts eight characters of the content's hash before the ending.
_HASHED = re.compile(r"-[A-Za-z0-9_-]{8}\.[a-z0-9]+", re.ASCII)
INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class PageFile:
    """`codings` has the bytes by their content coding (`identity` always), `is_lasting`: its name changes with it."""

    content_type: str
    digest: str
    is_lasting: bool
    codings: Mapping[str, bytes]


@cache
def page_files() -> Mapping[str, PageFile]:
    """All files by name; empty if the page was not built. Two megabytes, read when a browser first comes."""
    names = sorted(path.name for path in _DIST.iterdir()) if _DIST.is_dir() else []
    return {name: _read(name) for name in names if Path(name).suffix in _TYPES}


def _read(name: str) -> PageFile:
    data = (_DIST / name).read_bytes()
    packed = {
        coding: path.read_bytes()
        for ending, coding in _PACKED.items()
        if (path := _DIST / (name + ending)).is_file()
    }
    return PageFile(
        _TYPES[Path(name).suffix],
        hashlib.sha256(data).hexdigest()[:32],
        _HASHED.search(name) is not None,
        {"identity": data, **packed},
    )
