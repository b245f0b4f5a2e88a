"""Files that are taken for models: each is called by what it is, and real ones are left alone."""

from __future__ import annotations

import io
import os
import pickle
import socket
import zipfile
from pathlib import Path

import pytest

from corral.weights.gguf.foreign import explain_content, explain_file
from tests.conftest import FIXTURES


def zipped(name: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(name, b"x" * 100)
    return data.getvalue()


CONTENTS: list[tuple[bytes, str]] = [
    (b"", "is empty"),
    (bytes(4096), "nothing but zeros"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
    (b"<!DOCTYPE html>\n<html>", "web page"),
    (b"\n  <html lang='en'>", "web page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    (b'{"metadata": {}, "weight_map": {"a": "b"}}', "index of a model"),
    (b'{"error": "Repository not found"}', "error message of a server"),
    (b'{\n  "architectures": ["LlamaForCausalLM"]\n}', "configuration of a model"),
    (zipped("archive/data.pkl"), "PyTorch"),
    (zipped("model.gguf"), "zip archive: unpack"),
    (pickle.dumps({"a": 1}, protocol=2), "PyTorch"),
    (b"\x08\x07\x12\x07pytorch\x1a\x032.1:", "ONNX"),
    (b"\x08\x08\x12\x0aonnx.quant", "ONNX"),
    (b"lmgg" + bytes(32), "GGML"),
    (b"fmgg\1" + bytes(32), "GGMF"),
    (b"tjgg\3" + bytes(32), "GGJT"),
    (b"algg" + bytes(32), "GGLA"),
    (b"FUGG" + bytes(32), "big-endian"),
    (b"\x89HDF\r\n\x1a\n" + bytes(8), "HDF5"),
    (b"\x93NUMPY\1\0", "NumPy"),
    (b"\x1c\0\0\0TFL3" + bytes(8), "TensorFlow Lite"),
    (b"\x1f\x8b\x08" + bytes(8), "gzip"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(8), "7z"),
    (b"x" * 257 + b"ustar\0", "tar archive"),
    (b"MZqFpD='" + bytes(8), "llamafile"),
    (b"\x7fELF" + bytes(8), "program"),
    (b"%PDF-1.7", "PDF"),
]


@pytest.mark.parametrize(("content", "words"), CONTENTS, ids=[words for _, words in CONTENTS])
def test_what_it_is(content: bytes, words: str) -> None:
    """The words say what it is and what to do."""
    assert words in explain_content(content[:4096], len(content))


@pytest.mark.parametrize(
    "content",
    [b"GGUF\3\0\0\0", b'\x10\0\0\0\0\0\0\0{"a": {}}', b"some text", b"{}", b"\x0a\x0b\x0a\x05<unk>"],
)
def test_what_may_be_one(content: bytes) -> None:
    """Models, and what nobody knows, are not called names."""
    assert explain_content(content, len(content)) == ""


def test_fixtures() -> None:
    """No real model is taken for something else."""
    assert {path.name: explain_file(path) for path in FIXTURES.iterdir() if explain_file(path)} == {}


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipes, sockets, devices and folders are told without being opened."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # the name of a socket is short
        listener.bind("socket")
    for path, what in (
        (tmp_path / "pipe", "named pipe"),
        (tmp_path / "socket", "socket"),
        (Path("/dev/zero"), "device"),
        (tmp_path, "folder"),
    ):
        assert what in explain_file(path)
