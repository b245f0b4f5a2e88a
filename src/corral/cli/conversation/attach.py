"""Images and audio files named in a prompt: found, checked and removed from the text (ollama: cmd/interactive.go).

A path that does not exist is an error. Ollama sends it to the model as text, which then describes an image that it
never saw.
"""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path

from corral.cli.http.client import APIError

_MAX_BYTES = 100 << 20
# A path with a slash near its start, up to the first known extension.
_CANDIDATE = re.compile(
    r"(?:~|[a-zA-Z]:)?(?:\./|/|\\)[\S\\ ]{1,4096}?\.(?:jpe?g|png|webp|wav)\b", re.IGNORECASE
)
_ESCAPED = re.compile(r"\\([ ()\[\]{}$&;'\\*?~])")
# A blank that is not escaped.
_BLANK = re.compile(r"(?<!\\)\s")
_ACCEPTED = ("image/jpeg", "image/png", "image/webp", "audio/wave")
# Type, first bytes, and the form type of a RIFF header.
_MAGIC: tuple[tuple[str, bytes, bytes], ...] = (
    ("image/jpeg", b"\xff\xd8\xff", b""),
    ("image/png", b"\x89PNG\r\n\x1a\n", b""),
    ("image/webp", b"RIFF", b"WEBP"),
    ("audio/wave", b"RIFF", b"WAVE"),
    ("image/gif", b"GIF8", b""),
    ("image/bmp", b"BM", b""),
    ("application/pdf", b"%PDF-", b""),
    ("application/zip", b"PK\x03\x04", b""),
    ("application/x-gzip", b"\x1f\x8b\x08", b""),
    ("audio/mpeg", b"ID3", b""),
    ("application/ogg", b"OggS\x00", b""),
)
_TEXT_CONTROLS = frozenset(b"\t\n\x0c\r\x1b")


def extract_files(prompt: str) -> tuple[str, list[str]]:
    """The prompt without the files that it names, and these files as base64.

    Raises:
        APIError: a file that does not exist or cannot be used.
    """
    encoded = []
    for candidate in _candidates(prompt):
        path = _path(candidate)
        try:
            data = _read(path)
        except (APIError, OSError) as error:
            if isinstance(error, APIError) and str(error).startswith("invalid file type"):
                print(f'Couldn\'t process file: "{error}"', file=sys.stderr)
            raise APIError(str(error)) from None
        what = "audio" if path.suffix.lower() == ".wav" else "image"
        print(f"Added {what} '{path}'", file=sys.stderr)
        prompt = prompt.replace(f"'{candidate}'", "").replace(candidate, "")
        encoded.append(base64.b64encode(data).decode("ascii"))
    return prompt.strip() if encoded else prompt, encoded


def _candidates(prompt: str) -> list[str]:
    """The parts of a prompt that name files.

    Raises:
        APIError: one that can only be a path does not exist.
    """
    found = []
    position = 0
    while match := _CANDIDATE.search(prompt, position):
        position = match.end()
        if _exists(match[0]):
            found.append(match[0])
        elif _is_quoted(prompt, match):
            raise _missing(match[0])
        elif blank := _BLANK.search(match[0]):
            position = match.start() + blank.end()  # words, maybe with a path after them
        elif _begins_word(prompt, match.start()):
            raise _missing(match[0])
    return found


def _exists(candidate: str) -> bool:
    try:
        return _path(candidate).exists()
    except OSError:  # the name is too long, or a folder cannot be entered
        return False


def _begins_word(prompt: str, start: int) -> bool:
    """Whether a path may begin here: not inside a word or a link."""
    return not start or prompt[start - 1].isspace() or prompt[start - 1] in "'\"`("


def _missing(candidate: str) -> APIError:
    return APIError(f"couldn't find {_path(candidate)}, so nothing was sent; check the path")


def _path(candidate: str) -> Path:
    path = Path(_ESCAPED.sub(r"\1", candidate))
    return path.expanduser() if candidate.startswith("~/") else path


def _is_quoted(prompt: str, match: re.Match[str]) -> bool:
    before, after = prompt[: match.start()][-1:], prompt[match.end() :][:1]
    return before == after and before in ("'", '"', "`")


def looks_like_file(line: str) -> bool:
    """Whether a line that begins with a slash may be a file path rather than a command."""
    return bool(_CANDIDATE.match(line))


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise APIError(f"{path} is not a file")
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if not data:
        raise APIError("EOF")
    if len(data) > _MAX_BYTES:
        raise APIError("file size exceeds maximum limit (100MB)")
    kind = _sniff(data[:512])
    if kind not in _ACCEPTED:
        raise APIError(f"invalid file type: {kind}")
    return data


def _sniff(head: bytes) -> str:
    for kind, magic, inner in _MAGIC:
        if head.startswith(magic) and (not inner or head[8:12] == inner):
            return kind
    is_binary = any(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in head)
    return "application/octet-stream" if is_binary else "text/plain; charset=utf-8"
