"""One image of a request, looked at in a worker process: `prepare_image`.

Only five decoders of Pillow are ever asked: PNG, JPEG, GIF and BMP, which the engine reads itself, and WebP. No other
of its forty is, least of all the one that starts Ghostscript. What is neither one of these nor audio is refused in
the engine's own words, because the engine would guess: it takes any bytes for a TGA file of any size.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from corral.errors import InvalidRequestError

MAX_PIXELS = 64 << 20
# Of an image that has to be decoded and encoded here.
MAX_CONVERTED_PIXELS = 36 << 20
# MPO is a JPEG file with further images after the first.
_ENGINE_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP")
_OPENED_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_UNKNOWN_TEXT = "Failed to load image or audio file"


def prepare_image(data: bytes) -> bytes | None:
    """The image in a form that the engine reads; None: as it is.

    Raises:
        InvalidRequestError: it is too large, cannot be read, or is neither an image nor audio.
    """
    if _is_audio(data):
        return None
    with _readable_errors():
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=_OPENED_FORMATS) as image:
            needs_conversion = image.format not in _ENGINE_FORMATS
            limit = MAX_CONVERTED_PIXELS if needs_conversion else MAX_PIXELS
            width, height = image.size
            if width * height > limit:
                kind = f" ({image.format})" if needs_conversion else ""
                raise InvalidRequestError(
                    f"image of {width} x {height} pixels{kind} is too large (at most {limit:,} pixels)"
                )
            if not needs_conversion:
                return None
            converted = io.BytesIO()
            image.convert("RGB").save(converted, "PNG", compress_level=1)
            return converted.getvalue()


def _is_audio(data: bytes) -> bool:
    """WAV, FLAC or MP3, which the engine decodes."""
    is_wave = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    is_mpeg = data[:1] == b"\xff" and len(data) > 1 and data[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    return is_wave or is_mpeg or data.startswith((b"fLaC", b"ID3"))


@contextmanager
def _readable_errors() -> Iterator[None]:
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise InvalidRequestError(_UNKNOWN_TEXT) from None
    except Image.DecompressionBombError:
        raise InvalidRequestError(f"an image is too large (at most {MAX_PIXELS:,} pixels)") from None
    except (OSError, SyntaxError, ValueError, EOFError) as exc:
        # Pillow's decoders raise these for images that end too soon or make no sense.
        raise InvalidRequestError(f"an image cannot be read: {exc}") from None
