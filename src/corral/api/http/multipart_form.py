"""Reads a `multipart/form-data` body: text fields and files, all in memory within the bound of the body."""

from __future__ import annotations

import asyncio

from corral.api.http.exchange import Exchange
from corral.errors import InvalidRequestError

_MAX_PARTS = 64
_MAX_TEXT_BYTES = 1024 * 1024
# How much is searched at once: between two steps other threads have their turn.
_STEP_BYTES = 256 * 1024


class MultipartForm:
    """The parts of a form. `files` are parts that came with a file name; the first of a name counts."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.files: dict[str, bytes] = {}


async def read_form(exchange: Exchange) -> MultipartForm:
    """The form in the body.

    Raises:
        InvalidRequestError: the body is not a form, or does not parse.
        BodyTooLargeError, ClientGoneError
    """
    from multipart import MultipartError, parse_options_header

    kind, options = parse_options_header(exchange.header(b"content-type"))
    if kind.lower() != "multipart/form-data":
        raise _failed("request Content-Type isn't multipart/form-data")
    boundary = options.get("boundary", "")
    if not boundary:
        raise _failed("no multipart boundary param in Content-Type")
    body = await exchange.read_body()
    try:
        return await asyncio.to_thread(_parse, body, boundary)
    except MultipartError as exc:
        raise _failed(str(exc)) from None
    except (UnicodeError, ValueError) as exc:
        raise _failed(f"a part is not well formed: {exc}") from None


def _failed(reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"failed to parse multipart form: {reason}")


def _parse(body: bytes, boundary: str) -> MultipartForm:
    from multipart import MultipartSegment, PushMultipartParser

    form = MultipartForm()
    segment: MultipartSegment | None = None
    data: list[bytes] = []
    with PushMultipartParser(boundary, max_segment_count=_MAX_PARTS, max_segment_size=len(body)) as parser:
        for start in range(0, len(body) + _STEP_BYTES, _STEP_BYTES):
            chunk = body[start : start + _STEP_BYTES]
            if parser.closed:
                break
            for event in parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    segment, data = event, []
                elif event:
                    data.append(bytes(event))
                elif segment is not None:
                    _keep(form, segment.name, segment.filename, b"".join(data))
                    segment = None
    return form


def _keep(form: MultipartForm, name: str, filename: str | None, data: bytes) -> None:
    if filename is not None:
        form.files.setdefault(name, data)
    elif len(data) > _MAX_TEXT_BYTES:
        raise _failed(f'the field "{name}" is too long')
    else:
        form.texts.setdefault(name, data.decode("utf-8", "replace"))
