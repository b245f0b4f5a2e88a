"""Which words of a prompt are files, and which of them are missed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.cli.conversation.attach import extract_files
from corral.cli.http.client import APIError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("cat.png", "a cat.png", "it's.PNG"):
        (tmp_path / name).write_bytes(PNG)
    return tmp_path


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("what is ./cat.png", "what is"),
        ("./a\\ cat.png and ./cat.png", "and"),
        ("'./a cat.png' please", "please"),
        ("see ~/cat.png", "see"),
        ("./it's.PNG?", "?"),
        ("either/or: ./cat.png", "either/or:"),
        ("press / to search, then ./cat.png", "press / to search, then"),
    ],
)
def test_files(prompt: str, left: str) -> None:
    """Files that are there are taken out of the text, however they are written."""
    text, images = extract_files(prompt)
    assert text == left
    assert len(images) == prompt.count(".png") + prompt.count(".PNG")


@pytest.mark.parametrize(
    "prompt",
    [
        "what is ./dog.png",
        "./dog.png",
        "/no/such/folder/dog.jpeg what is it?",
        "'./a dog.png' please",
        'see "/tmp/no such dog.webp"',
        "~/dog.png",
        "listen to ./dog.wav",
        "compare ./cat.png with ./dog.png",
        "./a\\ dog.png",
        "press / to search, then ./dog.png",
    ],
)
def test_missing_files(prompt: str) -> None:
    """A path that names nothing is said; the model does not get it as text."""
    with pytest.raises(APIError, match=r"couldn't find .*dog\.(png|jpeg|webp|wav)"):
        extract_files(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "and/or photo.png",
        "Is it true/false that dog.png is used here and/or there.png?",
        "look at https://example.com/dog.png",
        "the file dog.png",
        "use the / key to open dog.png",
        "1/2 of x/y.png",
        "src/static/dog.png is missing in the repository",
    ],
)
def test_ordinary_text(prompt: str) -> None:
    """Slashes in words and links name no files."""
    assert extract_files(prompt) == (prompt, [])


def test_what_is_no_file(folder: Path) -> None:
    """A pipe is not waited for."""
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(APIError, match="is not a file"):
            extract_files(f"what is ./{name}.png")
