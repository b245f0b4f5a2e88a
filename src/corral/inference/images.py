"""Images on their way to the engine: kinds it cannot read become PNG, and none may unfold to gigabytes.

The engine decodes PNG, JPEG, GIF and BMP with a library that trusts what a header says; an image of a few hundred
bytes can claim billions of pixels. Looking at them is foreign code on foreign data, so a worker does it.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.errors import InvalidRequestError, WorkerLimitError
from corral.inference.image_job import prepare_image
from corral.workers.pool import run_job

MAX_IMAGES = 256
_MAX_TOTAL_BYTES = 192 << 20
_CPU_S = 15.0
_MEMORY_BYTES = 640 << 20


async def prepare_images(images: Sequence[bytes]) -> tuple[bytes, ...]:
    """The images in a form that the engine reads.

    Raises:
        InvalidRequestError: too many images, too large ones, or one that cannot be converted.
        QueueFullError: too many images of others wait.
    """
    if len(images) > MAX_IMAGES:
        raise InvalidRequestError(f"too many images: {len(images)} (at most {MAX_IMAGES} in a request)")
    prepared: list[bytes] = []
    size_bytes = 0
    for image in images:
        prepared.append(await _prepared(image))
        size_bytes += len(prepared[-1])
        if size_bytes > _MAX_TOTAL_BYTES:
            raise InvalidRequestError(
                f"the images of this request are too large: more than {_MAX_TOTAL_BYTES >> 20} MiB"
            )
    return tuple(prepared)


async def _prepared(image: bytes) -> bytes:
    try:
        converted = await run_job(
            prepare_image,
            image,
            cpu_s=_CPU_S,
            memory_bytes=_MEMORY_BYTES,
            result_bytes=_MAX_TOTAL_BYTES,
            what="an image",
        )
    except WorkerLimitError as error:
        raise InvalidRequestError(str(error), hint="send a smaller image, or PNG or JPEG") from None
    return image if converted is None else converted
