"""Files and links where a model's name is wanted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.cli.http.client import APIError
from corral.cli.models.model_from_file import name_of_file
from corral.cli.models.weblinks import name_of_link
from tests.conftest import FIXTURES, Server


@pytest.fixture(scope="module")
def maker(process: None) -> Iterator[Server]:
    """Ten contexts are the limit of an answer, and a model without a template seldom ends before."""
    server = Server(OLLAMA_CONTEXT_LENGTH="64")
    try:
        yield server
    finally:
        server.close()


def corral(server: Server, folder: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        cwd=folder,
        env=server.env,
        input="",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_run_a_file(maker: Server, tmp_path: Path) -> None:
    """The first run makes a model of it, in place; the next one finds that; both answer."""
    file = tmp_path / "My Model (v1).Q8_0.gguf"
    shutil.copy(FIXTURES / "say.gguf", file)
    for word in (f"./{file.name}", str(file), file.name):
        code, out, log = corral(maker, tmp_path, "run", word, "hi")
        assert (code, bool(out.strip())) == (0, True), log
    (model,) = maker.get("/api/tags")["models"]
    assert model["name"] == "My-Model-v1-.Q8_0:latest"
    assert any(path.is_symlink() for path in (maker.folder / "blobs").iterdir()), "linked, not copied"


def test_a_name_that_is_taken(maker: Server, tmp_path: Path) -> None:
    """Another model of the file's name is never replaced."""
    maker.create("taken", "say")
    shutil.copy(FIXTURES / "tiny.gguf", tmp_path / "taken.gguf")
    before = maker.post("/api/show", {"model": "taken"})["modelfile"]
    code, _, log = corral(maker, tmp_path, "run", "./taken.gguf", "hi")
    assert (code, "was not created from ./taken.gguf" in log, "create NAME -f -" in log) == (1, True, True), (
        log
    )
    assert maker.post("/api/show", {"model": "taken"})["modelfile"] == before


def test_a_file_that_is_not_there(maker: Server, tmp_path: Path) -> None:
    """No registry is asked."""
    for word in ("./missing.gguf", "missing.gguf", "~/missing.gguf"):
        code, _, log = corral(maker, tmp_path, "run", word, "hi")
        assert (code, "does not exist" in log, "pulling" in log) == (1, True, False), log


def test_something_else_than_a_model(maker: Server, tmp_path: Path) -> None:
    """Said at once, also of what has no end."""
    (tmp_path / "page.gguf").write_text("<html>")
    os.mkfifo(tmp_path / "pipe.gguf")
    for word, words in (("./page.gguf", "web page"), ("./pipe.gguf", "named pipe")):
        code, _, log = corral(maker, tmp_path, "run", word, "hi")
        assert (code, words in log) == (1, True), log


@pytest.mark.parametrize("command", ["pull", "show", "stop"])
def test_other_commands_say_how(maker: Server, tmp_path: Path, command: str) -> None:
    """They need a name, and say what makes one of the file."""
    shutil.copy(FIXTURES / "tiny.gguf", tmp_path / "x.gguf")
    code, _, log = corral(maker, tmp_path, command, "./x.gguf")
    assert (code, "run ./x.gguf` creates a model from it" in log) == (1, True), log


def test_create_of_a_file(maker: Server, tmp_path: Path) -> None:
    """Where the name is expected: the model is named after the file."""
    shutil.copy(FIXTURES / "embed.gguf", tmp_path / "vectors.gguf")
    code, _, log = corral(maker, tmp_path, "create", "./vectors.gguf")
    assert code == 0, log
    assert maker.post("/api/show", {"model": "vectors"})["details"]["family"] == "bert"


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("https://huggingface.co/a/b-GGUF/resolve/main/b.Q4_K_M.gguf", "hf.co/a/b-GGUF:b.Q4_K_M.gguf"),
        ("https://huggingface.co/a/b-GGUF/blob/main/b.Q4_K_M.gguf?x=1", "hf.co/a/b-GGUF:b.Q4_K_M.gguf"),
        ("http://hf.co/a/b/resolve/main/q4/b-Q4_0-00001-of-00003.gguf", "hf.co/a/b:Q4_0"),
        ("https://huggingface.co/a/b", "hf.co/a/b"),
        ("https://huggingface.co/a/b/tree/main", "hf.co/a/b"),
        ("hf://a/b/b-IQ2_XXS.gguf", "hf.co/a/b:b-IQ2_XXS.gguf"),
        ("http://localhost:5000/a/b:c", "http://localhost:5000/a/b:c"),
        ("llama3.2", "llama3.2"),
    ],
)
def test_links(link: str, name: str) -> None:
    """A file on Hugging Face is a tag of its repository."""
    assert name_of_link(link) == name


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com/models/x.gguf",
        "https://huggingface.co/a/b/resolve/v2/b.Q4_0.gguf",
        "https://huggingface.co/a/b/resolve/main/sub/b.gguf",
    ],
)
def test_links_that_no_name_stands_for(link: str) -> None:
    """The error has the commands to type."""
    with pytest.raises(APIError, match=r"curl -LO .*run \./"):
        name_of_link(link)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Llama-3.2-1B-Q4_K_M.gguf", "Llama-3.2-1B-Q4_K_M"),
        ("m-00001-of-00002.GGUF", "m"),
        ("a b:c@d.gguf", "a-b-c-d"),
        ("x" * 200 + ".gguf", "x" * 80),
    ],
)
def test_names_of_files(file: str, name: str) -> None:
    """What no name may have is replaced."""
    assert name_of_file(Path("/nowhere") / file) == name


def test_a_file_that_gives_no_name() -> None:
    """Nothing is left of it."""
    with pytest.raises(APIError, match="create NAME"):
        name_of_file(Path("/nowhere/??.gguf"))
