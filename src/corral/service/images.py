"""Pictures on their way to the engine: kinds it cannot read become PNG, and none may unfold to gigabytes.

The engine decodes PNG, JPEG, GIF and BMP with a library that trusts what a header says; a picture of a few hundred
bytes can claim billions of pixels. What Pillow does not know goes on as it is: it may be audio, and if it is
nothing the engine says so in the words that clients know.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

from corral.errors import InvalidRequestError

__all__ = ["prepare_images"]

_MAX_PIXELS = 64 << 20
_ENGINE_FORMATS = ("PNG", "JPEG", "GIF", "BMP")


async def prepare_images(images: Sequence[bytes]) -> tuple[bytes, ...]:
    """The pictures in a form that the engine reads.

    Raises:
        InvalidRequestError: a picture with too many pixels, or one that cannot be converted.
    """
    return tuple(await asyncio.to_thread(lambda: [_prepare(image) for image in images])) if images else ()


def _prepare(data: bytes) -> bytes:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            if width * height > _MAX_PIXELS:
                raise InvalidRequestError(
                    f"image of {width} x {height} pixels is too large (at most {_MAX_PIXELS:,} pixels)"
                )
            if picture.format in _ENGINE_FORMATS:
                return data
            converted = io.BytesIO()
            picture.convert("RGB").save(converted, "PNG")
            return converted.getvalue()
    except UnidentifiedImageError:
        return data
    except Image.DecompressionBombError:
        raise InvalidRequestError(f"an image is too large (at most {_MAX_PIXELS:,} pixels)") from None
    except (OSError, SyntaxError, ValueError, EOFError) as exc:
        # Pillow's decoders raise these for pictures that end too soon or make no sense.
        raise InvalidRequestError(f"an image cannot be read: {exc}") from None
