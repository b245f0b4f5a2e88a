"""Views on disk: whole or not there, written again when damaged, gone with their blob; a server that uses them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.digest import Digest
from corral.errors import GGUFError, StoreError
from corral.weights.gguf import GGUFFile
from corral.weights.translate import VERSION, writing
from corral.weights.translate.cache import FOLDER_NAME, TranslatedFiles
from corral.weights.translate.translated_file import TranslatedFile, TranslatedTensor, paired_order
from tests.conftest import Server
from tests.weights.translate.twins import TWINS, Layout

DIGEST = Digest("a" * 64)
BY_NAME = {twin.name: twin for twin in TWINS}


def published(name: str) -> Layout:
    layout = BY_NAME[name].make()
    BY_NAME[name].to_ollama(layout)
    return layout


@pytest.fixture
def gemma(tmp_path: Path) -> GGUFFile:
    return GGUFFile.open(published("gemma3").write(tmp_path / "blob"))


def test_written_once_and_again_when_damaged(tmp_path: Path, gemma: GGUFFile) -> None:
    """The second time nothing is written; a file that was cut is."""
    cache = TranslatedFiles(tmp_path)
    path = cache.ensure(DIGEST, gemma, "text")
    assert path is not None
    before = path.stat().st_mtime_ns
    content = path.read_bytes()
    assert cache.ensure(DIGEST, gemma, "text") == path
    assert path.stat().st_mtime_ns == before
    path.write_bytes(content[: len(content) // 2])
    assert TranslatedFiles(tmp_path).ensure(DIGEST, gemma, "text") == path
    assert path.read_bytes() == content
    assert [p.name for p in cache.folder.iterdir()] == [path.name]


def test_nothing_for_files_that_load_as_they_are(tmp_path: Path) -> None:
    """No translation, no file, no folder."""
    gguf = GGUFFile.open(BY_NAME["gemma3"].make().write(tmp_path / "blob"))
    assert TranslatedFiles(tmp_path).ensure(DIGEST, gguf, "text") is None
    assert not (tmp_path / FOLDER_NAME).exists()


def test_deleting_and_sweeping(tmp_path: Path, gemma: GGUFFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view goes with its blob, with a new version, and when nothing uses it; what is half written after an hour."""
    cache, other = TranslatedFiles(tmp_path), Digest("b" * 64)
    for digest in (DIGEST, other):
        cache.ensure(digest, gemma, "text")
        cache.ensure(digest, gemma, "projector")
    half = cache.folder / f"{DIGEST.hex}-v{VERSION}-text.gguf{writing.TEMPORARY_MARK}00"
    half.write_bytes(b"x")
    cache.sweep({DIGEST})
    assert half.exists()
    assert not any(p.name.startswith(other.hex) for p in cache.folder.iterdir())
    assert cache.path(DIGEST, "text").exists() and cache.path(DIGEST, "projector").exists()
    cache.sweep({DIGEST}, now_s=half.stat().st_mtime + 3700)
    assert not half.exists()
    monkeypatch.setattr("corral.weights.translate.cache.VERSION", VERSION + 1)
    cache.sweep({DIGEST})
    assert not cache.folder.exists()
    monkeypatch.undo()
    cache.ensure(DIGEST, gemma, "text")
    cache.delete(DIGEST)
    assert not list(cache.folder.iterdir())


def _write_slowly(folder: Path, blob: Path, started: Any) -> None:
    """Stop in the middle of a view for ever."""

    def stuck(*_arguments: object) -> None:
        started.set()
        signal.pause()

    setattr(writing, "copy_range", stuck)  # noqa: B010
    TranslatedFiles(folder).ensure(DIGEST, GGUFFile.open(blob), "text")


def test_killed_while_writing(tmp_path: Path, gemma: GGUFFile) -> None:
    """kill -9 in the middle leaves no view, and the next one is written as if nothing had been."""
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_write_slowly, args=(tmp_path, gemma.path, started))
    process.start()
    assert started.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    cache = TranslatedFiles(tmp_path)
    assert not cache.path(DIGEST, "text").exists()
    assert len(list(cache.folder.iterdir())) == 1
    assert cache.ensure(DIGEST, gemma, "text") == cache.path(DIGEST, "text")
    cache.sweep({DIGEST}, now_s=cache.path(DIGEST, "text").stat().st_mtime + 3700)
    assert [p.name for p in cache.folder.iterdir()] == [cache.path(DIGEST, "text").name]


def test_folder_that_cannot_be_written(tmp_path: Path, gemma: GGUFFile) -> None:
    """The error says which folder."""
    (tmp_path / FOLDER_NAME).write_text("in the way")
    with pytest.raises(StoreError, match="cannot write the translated model") as caught:
        TranslatedFiles(tmp_path).ensure(DIGEST, gemma, "text")
    assert FOLDER_NAME in caught.value.hint


def test_what_a_family_needs_is_missing(tmp_path: Path) -> None:
    """A file that only claims to be of a family is an error, not a crash."""
    layout = Layout("gptoss")
    layout.own(block_count=1)
    layout.add("token_embd.weight", 8, 8)
    gguf = GGUFFile.open(layout.write(tmp_path / "blob"))
    with pytest.raises(GGUFError, match=r"no tensor 'blk\.0\.ffn_gate_exps\.weight'"):
        TranslatedFiles(tmp_path).ensure(DIGEST, gguf, "text")


def test_rows_in_pairs() -> None:
    """One head of six rows, and two heads of four."""
    assert paired_order(6, 1) == [0, 3, 1, 4, 2, 5]
    assert paired_order(8, 2) == [0, 2, 1, 3, 4, 6, 5, 7]


def test_interleaved_experts(tmp_path: Path) -> None:
    """Gate and up of each expert side by side, whatever their type."""
    layout = Layout("gemma4")
    layout.add("a", 2, 3, 32)
    layout.add("b", 2, 3, 32)
    gguf = GGUFFile.open(layout.write(tmp_path / "blob"))
    view = TranslatedFile(gguf)
    view.interleave("c", "a", "b", (32, 6, 2), 2)
    tensor: TranslatedTensor = view.tensors["c"]
    data = gguf.path.read_bytes()
    a, b = layout.tensors["a"], layout.tensors["b"]
    expected = b"".join(part[expert].tobytes() for expert in range(2) for part in (a, b))
    assert tensor.data(lambda offset, size: data[offset : offset + size]) == expected


def test_a_server_uses_views(start_server: Callable[..., Server]) -> None:
    """Created from what was published, a model answers; its view stays as long as the blob. Switched off, it does
    not load."""
    server = start_server()
    file = server.folder / "gemma.gguf"
    digest = server.upload(published("gemma3").write(file))
    body = {"model": "g", "files": {"gemma.gguf": digest}, "stream": False}
    assert server.post("/api/create", body) == {"status": "success"}
    ask = {"model": "g", "prompt": "hi", "stream": False, "options": {"num_predict": 3}}
    assert server.post("/api/generate", ask)["done"]
    views = server.folder / FOLDER_NAME
    assert sorted(p.name.partition(f"-v{VERSION}-")[2] for p in views.iterdir()) == [
        "projector.gguf",
        "text.gguf",
    ]
    assert server.upload(file) == digest
    assert "vision" in server.post("/api/show", {"model": "g"})["capabilities"]
    assert server.request("DELETE", "/api/delete", {"model": "g"})[0] == 200
    blob = server.folder / "blobs" / digest.replace(":", "-")
    assert blob.exists() and list(views.iterdir())  # the upload stays for the next create
    plain = start_server(OLLAMA_LLAMA_CPP_COMPAT="0")
    plain.upload(file)
    assert plain.post("/api/create", body) == {"status": "success"}
    assert plain.request("POST", "/api/generate", ask)[0] == 500
