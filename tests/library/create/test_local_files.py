"""Files of this machine: who may have them taken in, how, and what happens when they change."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FIXTURES, Server


@pytest.fixture(scope="module")
def maker(process: None) -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def model_file(maker: Server) -> Path:
    """A model on the store's file system, so that hard links are possible."""
    folder = maker.folder / "home"
    folder.mkdir(exist_ok=True)
    path = folder / f"m{len(list(folder.iterdir()))}.gguf"
    # A byte behind the data makes its digest its own.
    path.write_bytes((FIXTURES / "say.gguf").read_bytes() + os.urandom(16))
    return path


def token_of(server: Server) -> str:
    path = Path(server.get("/api/local-blobs")["token_file"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    return path.read_text()


def take_in(server: Server, path: Path, mode: str = "link") -> dict[str, Any]:
    body = {"path": str(path), "mode": mode, "token": token_of(server)}
    events = server.stream("/api/local-blobs", body)
    assert events[-1]["status"] == "success"
    return events[-1]


def create(server: Server, path: Path, mode: str) -> Path:
    """A model `m` of a file; the blob."""
    digest: str = take_in(server, path, mode)["digest"]
    server.stream("/api/create", {"model": "m", "files": {"m.gguf": digest}, "template": "{{ .Prompt }}"})
    return server.folder / "blobs" / digest.replace(":", "-")


def test_link(maker: Server, model_file: Path) -> None:
    """No second copy: the blob shares the file's blocks, by a clone or by a hard link."""
    done = take_in(maker, model_file)
    blob = maker.folder / "blobs" / done["digest"].replace(":", "-")
    if done["method"] == "hard link":
        assert blob.stat().st_ino == model_file.stat().st_ino
    else:
        assert done["method"] == "clone"
    assert take_in(maker, model_file)["method"] == "existing"
    assert blob.read_bytes() == model_file.read_bytes()


def test_link_survives_the_original(maker: Server, model_file: Path) -> None:
    """Removing or replacing the file, as downloads do, does not touch the model."""
    create(maker, model_file, "link")
    model_file.unlink()
    shutil.copy(FIXTURES / "tiny.gguf", model_file)
    assert maker.post(
        "/api/generate", {"model": "m", "prompt": "the", "stream": False, "options": {"num_predict": 2}}
    )["done"]


def test_copy(maker: Server, model_file: Path) -> None:
    """On request the blob is nobody else's."""
    done = take_in(maker, model_file, "copy")
    assert done["method"] in ("copy", "clone")
    blob = maker.folder / "blobs" / done["digest"].replace(":", "-")
    assert blob.stat().st_ino != model_file.stat().st_ino


def test_a_changed_file_is_told(maker: Server, model_file: Path) -> None:
    """Weights that were altered in place are not run; creating anew mends it."""
    create(maker, model_file, "reference")
    with model_file.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    status, data = maker.request("POST", "/api/generate", {"model": "m", "prompt": "the"})
    assert status == 500
    assert (
        f"the file {model_file} has changed since the model was created from it" in json.loads(data)["error"]
    )
    create(maker, model_file, "reference")
    assert maker.post(
        "/api/generate", {"model": "m", "prompt": "the", "stream": False, "options": {"num_predict": 2}}
    )["done"]


def test_reference(maker: Server, model_file: Path) -> None:
    """The file stays where it is; when it vanishes the error says which, and it may come back."""
    blob = create(maker, model_file, "reference")
    assert blob.is_symlink()
    assert maker.post(
        "/api/generate", {"model": "m", "prompt": "the", "stream": False, "options": {"num_predict": 2}}
    )["done"]
    away = model_file.with_suffix(".away")
    model_file.rename(away)
    for path in ("/api/show", "/api/generate"):
        status, data = maker.request("POST", path, {"model": "m", "prompt": "the"})
        assert (status, str(model_file) in json.loads(data)["error"]) == (500, True)
    away.rename(model_file)
    assert maker.post(
        "/api/generate", {"model": "m", "prompt": "the", "stream": False, "options": {"num_predict": 2}}
    )["done"]
    maker.request("DELETE", "/api/delete", {"model": "m"})
    assert not blob.is_symlink()
    assert model_file.exists()


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({"token": ""}, {}),
        ({"token": "corral-local-" + "0" * 64}, {}),
        ({}, {"Origin": "http://localhost:3000"}),
    ],
    ids=["no token", "wrong token", "web page"],
)
def test_refused(maker: Server, model_file: Path, change: dict[str, str], headers: dict[str, str]) -> None:
    """Without the token, or from a web page even with it, nothing is read."""
    body = {"path": str(model_file), "token": token_of(maker), **change}
    status, data = maker.request("POST", "/api/local-blobs", body, headers)
    assert (status, "token file" in json.loads(data)["error"]) == (403, True)


@pytest.mark.parametrize("path", ["m.gguf", "", "/nowhere/m.gguf", "/dev/zero", "/tmp"])
def test_bad_paths(maker: Server, path: str) -> None:
    """Relative paths, devices, folders, and files that there are not."""
    body = {"path": path, "token": token_of(maker), "stream": False}
    status, data = maker.request("POST", "/api/local-blobs", body)
    assert status in (400, 500)
    assert json.loads(data)["error"]


def test_off(start_server: Callable[..., Server]) -> None:
    """The setting closes the route."""
    server = start_server(CORRAL_LOCAL_FILES="off")
    assert server.request("GET", "/api/local-blobs")[0] == 403
    assert server.request("POST", "/api/local-blobs", {"path": "/etc/passwd"})[0] == 403


def test_what_is_no_file(maker: Server, tmp_path: Path) -> None:
    """Folders, pipes, devices and links in a circle are refused by name."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    token = token_of(maker)
    for path, text in (
        (tmp_path, f"{tmp_path} is not a regular file"),
        (tmp_path / "pipe", f"{tmp_path / 'pipe'} is not a regular file"),
        (Path("/dev/zero"), "/dev/zero is not a regular file"),
        (tmp_path / "circle", f"{tmp_path / 'circle'} cannot be resolved: "),
    ):
        _, data = maker.request("POST", "/api/local-blobs", {"path": str(path), "token": token})
        assert json.loads(data)["error"].startswith(text)
