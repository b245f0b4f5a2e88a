"""The command line as people type it, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FIXTURES, Server

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(server: Server, tmp_path: Path) -> Cli:
    """Run a command in an empty folder; standard input is empty unless given."""

    def run(*words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "corral.cli.main", *words],
            input=stdin,
            cwd=tmp_path,
            env={**server.env, **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_the_life_of_a_model(cli: Cli, tmp_path: Path) -> None:
    """Create from a Modelfile, list, show, run, see it loaded, stop, copy, remove."""
    (tmp_path / "m.gguf").write_bytes((FIXTURES / "say.gguf").read_bytes())
    (tmp_path / "Modelfile").write_text(
        'FROM ./m.gguf\nTEMPLATE {{ .Prompt }}\nPARAMETER temperature 0\nSYSTEM """Be\nbrief."""\n'
    )
    created = cli("create", "life")
    assert created.returncode == 0, created.stderr
    assert created.stdout == ""
    assert created.stderr.splitlines()[-1] == "success"
    assert cli("list", "life").stdout.splitlines()[1].startswith("life:latest")
    shown = cli("show", "life").stdout
    assert "    architecture        llama" in shown
    assert "    temperature    0" in shown
    assert cli("show", "life", "--system").stdout == "Be\nbrief."
    cli("stop", "say")  # the same weights: one runner, listed under the name that loaded it first
    assert cli("run", "life", "now", "A").stdout == "Alpha beta gamma delta epsilon.\n\n"
    assert "life:latest" in cli("ps").stdout
    assert cli("stop", "life").returncode == 0
    assert cli("cp", "life", "other").stdout == "copied 'life' to 'other'\n"
    assert cli("rm", "life", "other").stdout == "deleted 'life'\ndeleted 'other'\n"


def test_the_shown_modelfile_makes_the_same_model(cli: Cli, tmp_path: Path, server: Server) -> None:
    """What show prints can be created from again."""
    text = cli("show", "say", "--modelfile").stdout
    (tmp_path / "Modelfile").write_text(text)
    assert cli("create", "again").returncode == 0
    first, second = (server.post("/api/show", {"model": name}) for name in ("say", "again"))
    for key in ("template", "parameters", "capabilities", "details"):
        assert {**first, "details": {**first["details"], "parent_model": ""}}[key] == {
            **second,
            "details": {**second["details"], "parent_model": ""},
        }[key]
    cli("rm", "again")


def test_piped_input_and_timings(cli: Cli) -> None:
    """Standard input comes before the arguments; --verbose prints the figures on stderr."""
    result = cli("run", "say", "A", "--verbose", stdin="now")
    assert result.stdout == "Alpha beta gamma delta epsilon.\n\n"
    assert "eval count:           6 token(s)" in result.stderr
    assert "tokens/s" in result.stderr


def test_embedding_models_print_vectors(cli: Cli) -> None:
    """One line of JSON, shortened on request."""
    assert len(json.loads(cli("run", "embed", "hello", "--dimensions", "3").stdout)) == 3
    result = cli("run", "embed")
    assert result.returncode == 1
    assert "embedding models require input text" in result.stderr


def test_pull_and_run_the_built_in_model(cli: Cli) -> None:
    """`run` of a model that is not there pulls it first."""
    cli("rm", "corral-tiny")
    result = cli("run", "corral-tiny", "What is the capital of France?", "--think=false")
    assert "Paris" in result.stdout
    assert "success" in result.stderr
    assert cli("pull", "corral-tiny").returncode == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["bogus"], 'unknown command "bogus" for "corral"'),
        (["sho"], 'unknown command "sho" for "corral"\n\nDid you mean this?\n\tshow\n\tstop\n'),
        (["create"], "accepts 1 arg(s), received 0"),
        (["cp", "a"], "accepts 2 arg(s), received 1"),
        (["run"], "requires at least 1 arg(s), only received 0"),
        (["list", "-z"], "unknown shorthand flag: 'z' in -z"),
        (["create", "x", "-f"], "flag needs an argument: 'f' in -f"),
        (["run", "say", "--think=maybe", "x"], 'invalid value for --think: "maybe"'),
        (["run", "say", "--keepalive", "10", "x"], 'time: missing unit in duration "10"'),
        (["show", "nope"], "model 'nope:latest' not found"),
        (["stop", "nope"], 'couldn\'t find model "nope" to stop'),
        (["cp", "nope", "x"], 'model "nope" not found'),
    ],
)
def test_errors(cli: Cli, words: list[str], error: str) -> None:
    """One line on stderr, status 1, nothing on stdout."""
    result = cli(*words)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {error}")


def test_without_a_server(cli: Cli) -> None:
    """What to do is said; the version is printed all the same."""
    result = cli("list", OLLAMA_HOST="127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr == (
        "Error: could not connect to corral server, run 'corral serve' to start it\n"
        "nothing is listening at http://127.0.0.1:1 (from OLLAMA_HOST)\n"
    )
    assert "Warning: client version is" in cli("--version", OLLAMA_HOST="127.0.0.1:1").stdout


def test_output_that_cannot_be_written(cli: Cli, server: Server) -> None:
    """A full disk is an error, a reader that has seen enough is none, and neither ends in a traceback."""
    command = [sys.executable, "-m", "corral.cli.main", "list"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            command, env=server.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 1
    assert result.stderr == "Error: [Errno 28] No space left on device\n"
    shell = f"'{sys.executable}' -m corral.cli.main help | true; echo ${{PIPESTATUS[0]}}"
    piped = subprocess.run(["bash", "-c", shell], env=server.env, capture_output=True, text=True, check=False)
    assert (piped.stdout, piped.stderr) == ("0\n", "")


def test_closed_streams(server: Server) -> None:
    """Without stdin, stdout or stderr a command does its work all the same."""
    for closed, output in (("<&-", "NAME"), (">&-", ""), ("2>&-", "NAME"), ("<&- >&- 2>&-", "")):
        shell = f"'{sys.executable}' -m corral.cli.main list {closed}"
        result = subprocess.run(
            ["bash", "-c", shell], env=server.env, capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stdout[:4], result.stderr) == (0, output, "")


def test_help_lists_every_setting(cli: Cli) -> None:
    """`serve --help` is made from the table of settings."""
    from corral.settingstable import SETTINGS

    text = cli("serve", "--help").stdout
    assert all(setting.name in text for setting in SETTINGS)
    assert "Usage:\n  corral serve [flags]" in text
    assert "Available Commands:" in cli("--help").stdout


@pytest.mark.process
def test_version_imports_little() -> None:
    """The quick commands load neither the server nor the engine."""
    program = (
        "import corral.cli.main, corral.cli.http.client, corral.cli.http.address, corral.cli.models.listing, sys; "
        "print(*sorted(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    ).stdout.split()
    heavy = {"uvicorn", "xllamacpp", "jinja2", "asyncio", "http.client", "dataclasses", "typing", "argparse"}
    assert not heavy & set(output)
