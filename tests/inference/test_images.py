"""Images from strangers: which are passed on, which converted, which refused, and that no decoder runs wild."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from corral.errors import InvalidRequestError
from corral.inference import image_job, images

pytestmark = pytest.mark.process


def _prepare(*data: bytes) -> tuple[bytes, ...]:
    return asyncio.run(images.prepare_images(data))


def _image(form: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    data = io.BytesIO()
    Image.new(mode, size).save(data, form, **options)
    return data.getvalue()


def _png_claiming(width: int, height: int, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(bytes(100)))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP"])
def test_what_the_engine_reads_goes_on_byte_for_byte(form: str) -> None:
    data = _image(form)
    assert _prepare(data) == (data,)


def test_a_photo_with_further_images_goes_on_byte_for_byte() -> None:
    data = _image("MPO", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")])
    assert _prepare(data) == (data,)


def test_webp_becomes_png() -> None:
    (data,) = _prepare(_image("WEBP"))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("PNG", (40, 30))


@pytest.mark.parametrize(
    "data", [b"RIFF\x24\0\0\0WAVEfmt ", b"ID3\3\0", b"fLaC\0\0", b"\xff\xfb\x90", b"\xff\xf3\x90"]
)
def test_audio_goes_on(data: bytes) -> None:
    assert _prepare(data) == (data,)


def test_postscript_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(InvalidRequestError, match="Failed to load image"):
        image_job.prepare_image(script)
    assert not (tmp_path / "ran").exists()


_SAVED = ("TIFF", "PPM", "PCX", "TGA", "SGI", "DDS", "ICO", "EPS", "XBM", "MSP", "SPIDER", "PDF", "DIB")
_OTHERS = {
    **{form: _image(form, mode={"XBM": "1", "MSP": "1", "SPIDER": "F"}.get(form, "RGB")) for form in _SAVED},
    "PSD": b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8000, 8000, 8, 3) + bytes(1000),
    "HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n" + bytes(100),
    "PIC": b"\x53\x80\xf6\x34" + bytes(84) + b"PICT" + struct.pack(">HH", 65535, 65535) + bytes(100),
    "TGA 65535": bytes([0, 0, 2]) + bytes(9) + struct.pack("<HHBB", 65535, 65535, 32, 0),
    "empty": b"",
    "text": b"nothing",
}
if features.check("jpg_2000"):
    _OTHERS["JPEG2000"] = _image("JPEG2000")
if features.check("avif"):
    _OTHERS["AVIF"] = _image("AVIF")


@pytest.mark.parametrize("data", _OTHERS.values(), ids=_OTHERS.keys())
def test_other_kinds_are_refused_before_they_are_decoded(data: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="Failed to load image or audio file"):
        _prepare(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _png_claiming(65535, 65535),
        lambda: _png_claiming(1, (64 << 20) + 1),
        lambda: (
            b"GIF89a"
            + struct.pack("<HH", 65535, 65535)
            + b"\0\0\0,"
            + struct.pack("<HHHH", 0, 0, 1, 1)
            + b"\0\2\1\0;"
        ),
        lambda: (
            b"BM"
            + struct.pack("<IHHI", 100, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, 30000, 30000, 1, 24, *[0] * 6)
        ),
        lambda: _image("WEBP", (6200, 6200), lossless=True),
    ],
    ids=["png", "png long", "gif", "bmp", "webp"],
)
def test_an_image_may_not_claim_too_many_pixels(make: Callable[[], bytes]) -> None:
    with pytest.raises(InvalidRequestError, match="too large"):
        _prepare(make())


def test_texts_that_unfold_are_refused_or_left_alone() -> None:
    bomb = zlib.compress(bytes(200 << 20))
    body = b"zTXta\0\0" + bomb
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        _prepare(_png_claiming(1, 1, chunk))


def test_time_and_memory_of_a_decoder_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _image("WEBP", (4000, 4000), lossless=True)
    monkeypatch.setattr(images, "_CPU_S", 0.02)
    with pytest.raises(InvalidRequestError, match="an image takes too long"):
        _prepare(data)
    monkeypatch.setattr(images, "_CPU_S", 60.0)
    monkeypatch.setattr(images, "_MEMORY_BYTES", 16 << 20)
    # Which of the two it is depends on whose request for memory fails: Python's, or the decoder's.
    with pytest.raises(InvalidRequestError, match=r"too much memory|cannot be read: could not create"):
        _prepare(data)


def test_how_many_images_a_request_has_is_bounded() -> None:
    with pytest.raises(InvalidRequestError, match="too many images: 257"):
        _prepare(*[b"x"] * (images.MAX_IMAGES + 1))


def test_what_comes_out_of_all_images_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_MAX_TOTAL_BYTES", 1000)
    with pytest.raises(InvalidRequestError, match="too large"):
        _prepare(*[_image("PNG", (60, 60))] * 20)
