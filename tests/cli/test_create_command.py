"""`corral create`: which files a line means, what is sent, and what goes wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corral.cli.models.sources import find_sources, named_files
from corral.library.create.token import TOKEN_FILE_NAME, TOKEN_PREFIX
from corral.modelfile import ModelfileError
from tests.cli.replay import Replay
from tests.conftest import FIXTURES, Server
from tests.doubles.sentence_model import model_files


@pytest.fixture(scope="module")
def maker(process: None) -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


def corral(server: Server, folder: Path, *words: str, text: str = "") -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a call in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        cwd=folder,
        env=server.env,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def link(source: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((FIXTURES / f"{source}.gguf").read_bytes())


def test_one_part_means_all(maker: Server, tmp_path: Path) -> None:
    """The first part of a split model, or a pattern, brings the others."""
    for part in (1, 2):
        link(f"split-{part}", tmp_path / f"m-0000{part}-of-00002.gguf")
    for line in ("./m-00001-of-00002.gguf", "./m-*.gguf", "."):
        code, _, log = corral(maker, tmp_path, "create", "split", "-f", "-", text=f"FROM {line}\n")
        assert (code, "success" in log) == (0, True), log
        assert maker.post("/api/show", {"model": "split"})["model_info"]["general.parameter_count"] == 122560


def test_no_copy_of_a_large_file(maker: Server) -> None:
    """A file that is large enough to matter is not uploaded: the store shares its blocks."""
    folder = maker.folder / "work"
    link("say", folder / "big.gguf")
    with (folder / "big.gguf").open("ab") as file:
        file.truncate(9 << 20)
    code, _, log = corral(maker, folder, "create", "big", "-f", "-", text="FROM ./big.gguf\n")
    assert (code, "reading big.gguf" in log, "copying file" in log) == (0, True, False), log
    code, _, log = corral(maker, folder, "create", "ref", "--reference", "-f", "-", text="FROM ./big.gguf\n")
    assert code == 0, log


def test_a_server_that_does_not_see_the_file(replay: Callable[..., Replay], tmp_path: Path) -> None:
    """It may live in a sandbox: then the file is sent."""
    place = tmp_path / TOKEN_FILE_NAME
    place.write_text(TOKEN_PREFIX + "0" * 64)
    file = tmp_path / "big.gguf"
    file.write_bytes(b"GGUF" + bytes(8 << 20))
    head = {"status": 200, "ctype": "application/json", "json": None}
    double = replay(
        [
            {**head, "method": "HEAD", "path": "/", "kind": "empty"},
            {
                **head,
                "method": "GET",
                "path": "/api/local-blobs",
                "kind": "json",
                "body": {"token_file": str(place)},
            },
            {
                **head,
                "method": "POST",
                "path": "/api/local-blobs",
                "kind": "json",
                "status": 500,
                "body": {"error": f"{file}: No such file or directory"},
            },
            {
                **head,
                "method": "POST",
                "path": "/api/create",
                "kind": "ndjson",
                "body": [{"status": "success"}],
            },
        ]
    )
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "create", "m", "-f", "-"],
        cwd=tmp_path,
        env=double.env,
        input="FROM ./big.gguf\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    paths = [(entry["method"], entry["path"]) for entry in double.requests]
    assert paths.index(("POST", "/api/local-blobs")) < paths.index(("POST", f"/api/blobs/{digest}"))
    assert double.bodies("/api/create")[0]["files"] == {"big.gguf": digest}


def test_reference_needs_a_server_of_ones_own(maker: Server, tmp_path: Path) -> None:
    """Where the token cannot be read, a reference is refused and other files are uploaded."""
    link("say", tmp_path / "m.gguf")
    other = Server(CORRAL_LOCAL_FILES="off")
    try:
        code, _, log = corral(
            other, tmp_path, "create", "m", "--reference", "-f", "-", text="FROM ./m.gguf\n"
        )
        assert (code, "--reference needs a server on this machine" in log) == (1, True)
        code, _, log = corral(other, tmp_path, "create", "m", "-f", "-", text="FROM ./m.gguf\n")
        assert (code, "copying file sha256:" in log) == (0, True)
        code, _, log = corral(other, tmp_path, "create", "m", "-f", "-", text="FROM ./m.gguf\n")
        assert (code, "copying file sha256:" in log) == (0, False), "only what is missing is sent"
    finally:
        other.close()


def test_quantize_with_a_matrix(maker: Server, tmp_path: Path) -> None:
    """The matrix is uploaded, and named in the request."""
    link("wide-f16", tmp_path / "w.gguf")
    (tmp_path / "im.dat").write_bytes(b"no matrix")
    words = ("create", "q", "-q", "IQ2_XXS", "--imatrix", "im.dat", "-f", "-")
    code, _, log = corral(maker, tmp_path, *words, text="FROM ./w.gguf\n")
    assert (code, "not an importance matrix" in log) == (1, True), log


@pytest.mark.parametrize(
    ("text", "place", "error"),
    [
        (
            "FROM x\nSYSTM y\n",
            "Modelfile:2: 'SYSTM' is not a command",
            "Error: (line 2): command must be one of",
        ),
        ('FROM x\n\nSYSTEM """y\n', 'Modelfile:3: the """ opened', "Error: unexpected EOF"),
        ("FROM x\nPARAMETER num_ctx 4k\n", "Modelfile:2: ", "Error: invalid int value [4k]"),
        ("FROM x\nREQUIRES soon\n", "Modelfile:2: ", "Error: requires must be a valid semver"),
    ],
)
def test_errors_have_a_place(maker: Server, tmp_path: Path, text: str, place: str, error: str) -> None:
    """A line like a compiler's, then the original's words."""
    (tmp_path / "Modelfile").write_text(text)
    code, out, log = corral(maker, tmp_path, "create", "m")
    lines = log.splitlines()
    assert (code, out) == (1, "")
    assert lines[-2].startswith(place)
    assert lines[-1].startswith(error)


def test_a_file_that_is_not_there(maker: Server, tmp_path: Path) -> None:
    """The server can only say that `./x.gguf` is no name; the line before says what is wrong."""
    code, _, log = corral(maker, tmp_path, "create", "m", "-f", "-", text="FROM ./x.gguf\n")
    assert (code, f"{tmp_path}/x.gguf does not exist" in log) == (1, True), log


@pytest.mark.parametrize(
    "value", ["missing.gguf", "sub/missing.GGUF", "missing.safetensors", "~/missing.gguf"]
)
def test_a_missing_file_is_no_name(maker: Server, tmp_path: Path, value: str) -> None:
    """Nothing asks the registry for it."""
    code, _, log = corral(maker, tmp_path, "create", "m", "-f", "-", text=f"FROM {value}\n")
    assert (code, "does not exist" in log, "pulling" in log) == (1, True, False), log
    body = {"model": "m", "from": "missing.gguf", "stream": False}
    status, answer = maker.request("POST", "/api/create", body)
    assert (status, b"does not read files" in answer) == (400, True), answer


def test_a_model_that_is_called_like_a_file(maker: Server, tmp_path: Path) -> None:
    """It exists, so it is what is meant."""
    maker.create("named.gguf", "say")
    code, _, log = corral(maker, tmp_path, "create", "m", "-f", "-", text="FROM named.gguf\n")
    assert code == 0, log


def test_what_can_have_no_end(maker: Server, tmp_path: Path) -> None:
    """Pipes and devices are refused at once, wherever a file is named."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "lora").mkdir()
    os.mkfifo(tmp_path / "lora" / "tokenizer.model")
    link("lora", tmp_path / "lora" / "a.gguf")
    for text in (
        "FROM ./pipe",
        "FROM /dev/zero",
        "FROM named\nADAPTER ./pipe",
        "FROM named\nDRAFT /dev/zero",
        "FROM /dev",
    ):
        code, _, log = corral(maker, tmp_path, "create", "m", "-f", "-", text=f"{text}\n")
        said = any(words in log for words in ("not a file", "no Modelfile or safetensors"))
        assert (code, said) == (1, True), log
    code, _, log = corral(maker, tmp_path, "create", "m", "-f", "/dev/zero")
    assert (code, "is not a Modelfile" in log) == (1, True), log
    code, _, log = corral(maker, tmp_path, "create", "m", "-f", str(tmp_path))
    assert (code, "is a folder, not a Modelfile" in log) == (1, True), log


def test_what_is_cut_short_or_something_else(maker: Server, tmp_path: Path) -> None:
    """Said before anything is sent, and by the server too."""
    whole = (FIXTURES / "tiny.gguf").read_bytes()
    for name, data, words in (
        ("half.gguf", whole[: len(whole) // 2], "is truncated"),
        ("head.gguf", whole[:100], "is truncated"),
        ("page.gguf", b"<!DOCTYPE html><html>", "web page"),
        ("pointer.gguf", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("none.gguf", b"", "is empty"),
    ):
        (tmp_path / name).write_bytes(data)
        code, _, log = corral(maker, tmp_path, "create", "m", "-f", "-", text=f"FROM ./{name}\n")
        assert (code, words in log, "copying" in log) == (1, True, False), log
        if name in ("page.gguf", "pointer.gguf", "none.gguf"):
            body = {"model": "m", "files": {name: maker.upload(tmp_path / name)}, "stream": False}
            status, answer = maker.request("POST", "/api/create", body)
            assert (status, words in answer.decode()) == (400, True), answer


def test_safetensors_that_are_cut_short(tmp_path: Path) -> None:
    """In their data and in their header, before anything is sent."""
    whole = model_files()["model.safetensors"].read_bytes()
    for size in (len(whole) // 2, len(whole) - 1, 100):
        (tmp_path / "model.safetensors").write_bytes(whole[:size])
        with pytest.raises(ModelfileError, match=r"model\.safetensors.*incomplete: download it again"):
            named_files(tmp_path)


def test_capitals(tmp_path: Path) -> None:
    """Names from other systems."""
    for name in ("M.GGUF", "._M.GGUF", "notes.txt"):
        link("tiny", tmp_path / name)
    assert set(named_files(tmp_path)) == {"M.GGUF"}


def test_two_models_in_a_folder(maker: Server, tmp_path: Path) -> None:
    """Both are named, before either is sent; a pattern is no way around it."""
    link("tiny", tmp_path / "m-Q8_0.gguf")
    link("say", tmp_path / "m-Q4_K_M.gguf")
    for line in (".", "./m-*.gguf", str(tmp_path)):
        code, _, log = corral(maker, tmp_path, "create", "two", "-f", "-", text=f"FROM {line}\n")
        assert (code, "m-Q4_K_M.gguf and m-Q8_0.gguf" in log, "copying" in log) == (1, True, False), log
    link("tiny", tmp_path / "m-Q4_K_M.gguf")
    assert corral(maker, tmp_path, "create", "one", "-f", "-", text="FROM .\n")[0] == 0, "the same twice"


def test_two_lines_that_name_models(maker: Server, tmp_path: Path) -> None:
    """Also when the files have the same name; a model and its projector are fine."""
    link("tiny", tmp_path / "a" / "m.gguf")
    link("say", tmp_path / "b" / "m.gguf")
    code, _, log = corral(maker, tmp_path, "create", "two", "-f", "-", text="FROM a/m.gguf\nFROM b/m.gguf\n")
    assert (code, "2 models" in log, "copying" in log) == (1, True, False), log
    link("mmproj", tmp_path / "b" / "m.gguf")
    code, _, log = corral(maker, tmp_path, "create", "eyes", "-f", "-", text="FROM a/m.gguf\nFROM b/m.gguf\n")
    assert code == 0, log
    assert "vision" in maker.post("/api/show", {"model": "eyes"})["capabilities"]


def test_weights_in_two_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The safetensors are taken, as by Ollama, and the other file is named."""
    for name in ("model.safetensors", "config.json", "model.gguf"):
        (tmp_path / name).write_bytes(b"x")
    assert set(named_files(tmp_path)) == {"model.safetensors", "config.json"}
    assert "ignoring model.gguf" in capsys.readouterr().err


def test_weights_in_place_of_a_modelfile(maker: Server, tmp_path: Path) -> None:
    """-f names a GGUF file: a model of it."""
    link("say", tmp_path / "m.gguf")
    code, _, log = corral(maker, tmp_path, "create", "direct", "-f", "m.gguf")
    assert code == 0, log


def test_draft_quantize_without_a_draft(maker: Server, tmp_path: Path) -> None:
    """In the words of Ollama's command line."""
    words = ("create", "m", "--draft-quantize", "q8_0", "-f", "-")
    code, _, log = corral(maker, tmp_path, *words, text="FROM named\n")
    assert (code, log.splitlines()[-1]) == (1, "Error: --draft-quantize requires a DRAFT model")


def test_a_named_file_that_is_not_there(maker: Server, tmp_path: Path) -> None:
    """It is not replaced by whatever is in the folder."""
    link("say", tmp_path / "m.gguf")
    code, _, log = corral(maker, tmp_path, "create", "m", "-f", "Modelfle")
    assert (code, log.splitlines()[-1]) == (1, "Error: specified Modelfile wasn't found: Modelfle")
    assert corral(maker, tmp_path, "create", "m")[0] == 0, "without -f the folder is the model"


def test_folder_of_safetensors(tmp_path: Path) -> None:
    """Weights by the first pattern that fits, then the files that go with them; names from their common folder."""
    for name in (
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "other.safetensors",
        "config.json",
        "1_Pooling/config.json",
        "tokenizer.model",
        "chat_template.jinja",
        "README.md",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert set(named_files(tmp_path)) == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "config.json",
        "1_Pooling/config.json",
        "tokenizer.model",
        "chat_template.jinja",
    }


def test_folders_that_are_refused(tmp_path: Path) -> None:
    """No weights, links that lead out, stand-ins of Git LFS, JSON that is none."""
    folder = tmp_path / "m"
    folder.mkdir()
    with pytest.raises(ModelfileError, match="no Modelfile or safetensors files found"):
        named_files(folder)
    secret = tmp_path / "secret"
    secret.write_text("x")
    weights = folder / "model.safetensors"
    weights.symlink_to(secret)
    with pytest.raises(ModelfileError, match=r"insecure path: model.safetensors"):
        named_files(folder)
    weights.unlink()
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelfileError, match="git lfs pull"):
        named_files(folder)
    weights.write_text("x")
    (folder / "config.json").write_bytes(b"\0\1")
    with pytest.raises(ModelfileError, match=r"invalid content type: expected .* for config.json"):
        named_files(folder)


def test_download_cache(tmp_path: Path) -> None:
    """Snapshots of Hugging Face's cache are links to its blobs; that is no way out."""
    blob = tmp_path / "models--a--b" / "blobs" / "abc"
    blob.parent.mkdir(parents=True)
    blob.write_text("{}")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "rev"
    snapshot.mkdir(parents=True)
    for name in ("model.safetensors", "config.json"):
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    assert set(named_files(snapshot)) == {"model.safetensors", "config.json"}
    assert set(named_files(snapshot / "model.safetensors")) == {"model.safetensors"}


def test_sources(tmp_path: Path) -> None:
    """Paths start at the Modelfile's folder; what is none is a model's name."""
    (tmp_path / "a.gguf").write_text("x")
    assert find_sources("a.gguf", tmp_path) == {"a.gguf": tmp_path / "a.gguf"}
    assert find_sources(str(tmp_path / "a.gguf"), Path("/")) == {"a.gguf": tmp_path / "a.gguf"}
    assert find_sources("llama3.2", tmp_path) == {}
    with pytest.raises(ModelfileError, match="failed to find user 'no-such-user'"):
        find_sources("~no-such-user/x", tmp_path)
