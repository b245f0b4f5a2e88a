"""Recognises files that are not models by their first bytes, and says what to do about them."""

from __future__ import annotations

import re
import stat
from pathlib import Path

_HEAD_BYTES = 4096
_AGAIN = "the download failed or the disk was full; download it again"
_PICKLE = (
    "has weights in PyTorch's own format, which can contain programs: convert them to safetensors, and name the "
    "folder that contains them"
)
_OLD = "is in a format from before GGUF (August 2023), which engines no longer support: get the model as GGUF"
_LFS_POINTER = "is a Git LFS pointer, not the file itself: run `git lfs pull` first"
_WEB_PAGE_TEXT = (
    "is a web page, not a model: the link leads to a page about the file, or to a login. On Hugging Face a "
    "file's own link has /resolve/ where the link of its page has /blob/"
)
_ONNX = "is an ONNX model: get the model as GGUF or safetensors"
# Offset, first bytes, description.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", _LFS_POINTER),
    (0, b"FUGG", "is a GGUF file for big-endian machines: get the usual, little-endian one"),
    (0, b"lmgg", f"{_OLD} (it is GGML)"),
    (0, b"fmgg", f"{_OLD} (it is GGMF)"),
    (0, b"tjgg", f"{_OLD} (it is GGJT)"),
    (0, b"algg", f"{_OLD} (it is a GGLA adapter)"),
    (0, b"\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras): get the model as GGUF or safetensors"),
    (0, b"\x93NUMPY", "is a NumPy array: get the model as GGUF or safetensors"),
    (4, b"TFL3", "is a TensorFlow Lite model: get the model as GGUF or safetensors"),
    (0, b"\x1f\x8b", "is compressed with gzip: decompress it first"),
    (0, b"\xfd7zXZ\x00", "is compressed with xz: decompress it first"),
    (0, b"BZh", "is compressed with bzip2: decompress it first"),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd: decompress it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first"),
    (0, b"Rar!", "is a RAR archive: unpack it first"),
    (257, b"ustar", "is a tar archive: unpack it first"),
    (0, b"MZqFpD", "is a llamafile, a program with a model inside: get the model's GGUF file"),
    (0, b"MZ", "is a program for Windows, not a model"),
    (0, b"\x7fELF", "is a program, not a model"),
    (0, b"%PDF", "is a PDF document, not a model"),
    (0, b"\x89PNG", "is an image, not a model"),
    (0, b"\xff\xd8\xff", "is an image, not a model"),
    (0, b"SQLite format 3", "is a database, not a model"),
)
_WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|script)\b", re.IGNORECASE)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|[A-Za-z])")
_PICKLE_START = re.compile(rb"\x80[\x02-\x05]")
# Field 1 (the version) and the field after it of a protocol buffer with an ONNX model.
_ONNX_START = re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]")


def explain_file(path: Path) -> str:
    """Why a file cannot be a model; empty if it may be one. Never blocks on a pipe.

    Raises:
        OSError: it cannot be read.
    """
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        return f"is {_kind(info.st_mode)}, not a file"
    with path.open("rb") as file:
        return explain_content(file.read(_HEAD_BYTES), info.st_size)


def explain_stand_in(path: Path, name: str) -> str:
    """Why a file next to the weights is not what its name says; empty if it may be. `name` is for the user.

    Raises:
        OSError: it cannot be read.
    """
    problem = explain_file(path)
    is_stand_in = problem == _LFS_POINTER or (problem == _WEB_PAGE_TEXT and name.endswith(".json"))
    return problem if is_stand_in else ""


def explain_content(head: bytes, size_bytes: int) -> str:
    """The same for a content, by its first 4 KiB and its size. The text continues a sentence after the file name."""
    if not size_bytes:
        return f"is empty: {_AGAIN}"
    if len(head) >= 16 and not any(head):
        return f"begins with nothing but zeros: {_AGAIN}"
    for offset, magic, text in _MAGIC:
        if head.startswith(magic, offset):
            return text
    if head.startswith(b"PK\x03\x04"):
        return _PICKLE if b".pkl" in head else "is a zip archive: unpack it first"
    if _PICKLE_START.match(head):
        return _PICKLE
    if _ONNX_START.match(head) and (b"onnx" in head.lower() or b"torch" in head or size_bytes > len(head)):
        return _ONNX
    return _explain_markup(head)


def _explain_markup(head: bytes) -> str:
    if _WEB_PAGE.match(head):
        return _WEB_PAGE_TEXT
    if _XML.match(head):
        return (
            "is an XML document, not a model; servers send one if a link has expired: download the file again"
        )
    if not head.lstrip().startswith(b"{"):
        return ""
    if b'"weight_map"' in head:
        return "is the index of a model in several safetensors files: name the folder that contains them"
    if b'"error"' in head:
        return "is the error message of a server, not a model: download the file again"
    if b'"architectures"' in head or b'"model_type"' in head or b'"peft_type"' in head:
        return (
            "is the configuration of a model, not a model: name the folder that contains it and the weights"
        )
    return ""


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((text for test, text in kinds if test(mode)), "something else")
