"""Files inside messages: texts and images are read, anything else is refused with the way out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from corral.api.reading.decode import decode_base64, is_image
from corral.errors import InvalidRequestError

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII | re.IGNORECASE)
_TEXT_TYPES = re.compile(
    r"text/|application/(?:json|xml|yaml|x-yaml|toml|javascript|x-sh)$|[^/]+/[^/]+\+(?:json|xml)$", re.ASCII
)


@dataclass(frozen=True, slots=True)
class File:
    """A file as clients send it; `kind` is its media type, empty if it is not given."""

    name: str
    kind: str
    content: bytes

    @classmethod
    def read(cls, value: Any) -> File | None:
        """The file of a part of content, its data a data URL or base64 alone.

        None if it has no data that can be decoded (a file that was uploaded elsewhere).
        """
        if not isinstance(value, dict) or not isinstance(data := value.get("file_data"), str):
            return None
        match = _DATA_URL.match(data)
        try:
            content = decode_base64(data[match.end() :] if match else data)
        except InvalidRequestError:
            return None
        name = value.get("filename")
        return cls(name if isinstance(name, str) else "", (match[1] or "").lower() if match else "", content)


def file_content(file: File) -> tuple[str, tuple[bytes, ...]]:
    """What a model can read of a file: its text below its name, or an image.

    Raises:
        InvalidRequestError: neither.
    """
    if is_image(file.content):
        return "", (file.content,)
    if not file.kind or _TEXT_TYPES.match(file.kind):
        text = file.content.decode("utf-8", "replace")
        if "\0" not in text and "\ufffd" not in text:
            return f"{file.name}\n\n{text}" if file.name else text, ()
    raise InvalidRequestError(
        f"the file {file.name!r} is neither a text nor an image: send the text of the document instead"
    )
