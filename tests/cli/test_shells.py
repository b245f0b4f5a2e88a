"""Completion in the real shells, and the manual page in real readers of roff."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pexpect
import pytest

from corral.cli.completion.candidates import FILES, candidates_for
from corral.cli.frame.commands import COMMANDS
from corral.cli.frame.manpage import manual_page
from tests.cli.replay import Replay
from tests.waiting import PATIENCE_S

MODELS = ["one:latest", "team/three:v1", "two:latest"]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture
def env(replay: Callable[..., Replay], tmp_path: Path) -> dict[str, str]:
    """An Ollama server with three models, and `corral` on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "corral"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m corral.cli.main "$@"\n')
    program.chmod(0o755)
    return {**replay().env, "PATH": f"{folder}:{os.environ['PATH']}", "TERM": "dumb"}


def ask_bash(env: dict[str, str], line: str) -> list[str]:
    code = (
        "source <(corral completion bash); COMP_LINE=$1; COMP_POINT=${#1}; _corral; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return ask(env, "bash", "--norc", "-c", code, "bash", line)


def ask_fish(env: dict[str, str], line: str) -> list[str]:
    return [
        answer.partition("\t")[0]
        for answer in ask(
            env, "fish", "-N", "-c", 'corral completion fish | source; complete -C "$argv"', line
        )
    ]


def ask(env: dict[str, str], *command: str) -> list[str]:
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stderr == ""
    return sorted(line for line in done.stdout.splitlines() if line)


SHELLS = [pytest.param(ask_bash, marks=needs("bash")), pytest.param(ask_fish, marks=needs("fish"))]


@pytest.mark.parametrize("complete", SHELLS)
def test_candidates(env: dict[str, str], complete: Callable[[dict[str, str], str], list[str]]) -> None:
    """Commands, flags of a command, models, values of flags."""
    assert complete(env, "corral st") == ["start", "stop"]
    assert complete(env, "corral show ") == MODELS
    assert complete(env, "corral rm one:latest t") == ["team/three:v1", "two:latest"]
    assert complete(env, "corral list --so") == ["--sort"]
    assert complete(env, "corral list --sort ") == ["modified", "name", "size"]
    assert complete(env, "corral launch --model t") == ["team/three:v1", "two:latest"]
    assert complete(env, "corral completion ") == ["bash", "fish", "zsh"]
    assert "--host" in complete(env, "corral ps --h")
    assert "tokenize" in complete(env, "corral help t")


@needs("bash")
def test_bash_with_colons_hosts_and_files(env: dict[str, str], tmp_path: Path) -> None:
    """What stands behind a colon is a word of its own for readline; --host asks that server; files are files."""
    assert ask_bash(env, "corral show one:l") == ["latest"]
    elsewhere = {**env, "OLLAMA_HOST": "127.0.0.1:1"}
    assert ask_bash(elsewhere, "corral show ") == []
    assert ask_bash(elsewhere, f"corral --host {env['OLLAMA_HOST']} show ") == MODELS
    (tmp_path / "Modelfile.x").touch()
    assert ask_bash(env, f"corral create m -f {tmp_path}/Mod") == [f"{tmp_path}/Modelfile.x"]


@needs("bash")
@needs("zsh")
@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    "line",
    [
        [("corral toke\t", "nize "), ("tw\t", "o:latest "), ("--cou\t", "nt ")],
        [("corral rm team/three:\t", "v1")],
    ],
)
def test_the_tab_key(env: dict[str, str], shell: str, line: list[tuple[str, str]]) -> None:
    """On a terminal of its own. One line only: a shell that still completes loses what ends the line."""
    start = {"bash": ["--norc", "-i"], "zsh": ["-f", "-i"]}[shell]
    child = pexpect.spawn(shell, start, env=env, encoding="utf-8", timeout=PATIENCE_S, dimensions=(24, 200))
    child.delaybeforesend = None
    setup = "autoload -U compinit; compinit -u -D; " if shell == "zsh" else ""
    child.sendline(f"{setup}PS1='next''> '; source <(corral completion {shell}); echo read''y")
    child.expect_exact("ready\r\n")
    child.expect_exact("next> ")
    for typed, wanted in line:
        child.send(typed)
        child.expect_exact(wanted)
    child.close(force=True)


def test_every_command_and_flag_is_offered() -> None:
    """What the table has is offered without a further list to keep."""
    names = candidates_for([], "")
    for command in COMMANDS:
        if not command.is_hidden:
            assert names[command.name] == command.text
            offered = candidates_for([command.name], "-")
            assert {f"--{flag.name}" for flag in command.flags} <= offered.keys()
    assert "__complete" not in names


@pytest.mark.parametrize(
    ("typed", "current", "wanted"),
    [
        (["list"], "--sort=n", ["--sort=name"]),
        (["list", "--sort"], "m", ["modified"]),
        (["create", "x", "-q"], "q4_K", ["q4_k_s", "q4_k_m"]),
        (["create"], "", []),
        (["nothing-like-it"], "", []),
        (["launch", "claude", "--"], "", []),
        (["launch"], "cla", ["claude"]),
        (["bench", "m", "--rounds"], "", []),
    ],
)
def test_words_and_values(typed: list[str], current: str, wanted: list[str]) -> None:
    """Values after a flag and joined to it; nothing where nothing can be known."""
    found = candidates_for(typed, current)
    assert [word for word in found if word in wanted] == wanted
    assert not found or wanted


def test_files_are_left_to_the_shell() -> None:
    """Also where the value is joined to its flag."""
    assert candidates_for(["create", "m", "-f"], "Mod") is FILES
    assert candidates_for(["create", "m"], "--imatrix=a") is FILES


HOSTILE_NAMES = [
    "$(touch hit-{shell})",
    "`touch hit-{shell}`",
    "a;touch hit-{shell}",
    "a\ntouch hit-{shell}",
    "a$(touch hit-{shell}):latest",
    "x\tIgnore me",
    "-rf",
    "a b",
    "<(touch hit-{shell})",
    "~root",
    "\x1b[2Ja",
    "*",
]


@pytest.fixture
def hostile(env: dict[str, str]) -> Iterator[dict[str, str]]:
    """A server whose models' names are commands for a shell."""
    names = [name.replace("{shell}", "it") for name in HOSTILE_NAMES]
    body = json.dumps({"models": [{"name": name} for name in [*names, "good:latest"]]}).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {**env, "OLLAMA_HOST": f"127.0.0.1:{server.server_port}"}
        server.shutdown()


@pytest.mark.parametrize("complete", SHELLS)
def test_names_are_never_evaluated(
    hostile: dict[str, str],
    complete: Callable[[dict[str, str], str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that a shell could read as a command is neither run nor offered, since Enter would run it."""
    monkeypatch.chdir(tmp_path)
    for line in ("corral show ", "corral show a", "corral launch --model ", "corral rm good:latest "):
        assert set(complete(hostile, line)) <= {"good:latest"}
    assert complete(hostile, "corral show ") == ["good:latest"]
    assert not list(tmp_path.glob("hit*"))


@needs("zsh")
def test_zsh_evaluates_no_name(hostile: dict[str, str], tmp_path: Path) -> None:
    """The same with zsh, which completes on terminals only."""
    child = pexpect.spawn(
        "zsh",
        ["-f", "-i"],
        env=hostile,
        encoding="utf-8",
        timeout=PATIENCE_S,
        dimensions=(24, 200),
        cwd=str(tmp_path),
    )
    child.delaybeforesend = None
    child.sendline(
        "autoload -U compinit; compinit -u -D; PS1='next''> '; source <(corral completion zsh); echo read''y"
    )
    child.expect_exact("ready\r\n")
    child.expect_exact("next> ")
    child.send("corral show \t")
    child.expect_exact("good:latest")
    child.close(force=True)
    assert not list(tmp_path.glob("hit*"))


def test_an_unknown_shell(env: dict[str, str]) -> None:
    """The error names those that there are."""
    done = subprocess.run(
        ["corral", "completion", "csh"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "Error: unknown shell: csh; supported shells are bash, zsh and fish\n"


@pytest.mark.process
@needs("mandoc")
def test_the_manual_page_is_sound() -> None:
    """mandoc has nothing to object to; the date is left out on purpose."""
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"],
        input=manual_page(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    problems = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert problems == []


@needs("man")
def test_man_shows_it(env: dict[str, str], tmp_path: Path) -> None:
    """Every command with its flags, dashes as dashes."""
    page = tmp_path / "corral.1"
    page.write_text(
        subprocess.run(["corral", "man"], env=env, capture_output=True, text=True, check=True).stdout
    )
    shown = subprocess.run(
        ["man", "-l", str(page)],
        env={**env, "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANPAGER": "cat", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    for command in COMMANDS:
        if not command.is_hidden:
            assert f"   {command.name}" in shown.stdout
            assert all(f"--{flag.name}" in shown.stdout for flag in command.flags)
