"""Completion in the real shells, and the manual page in real readers of roff."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from corral.cli.agents import AGENTS
from corral.cli.commands import COMMANDS
from corral.cli.completion import _WORDS, script
from corral.cli.manpage import manual_page
from tests.cli.replay import Replay

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
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
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
def test_the_tab_key(env: dict[str, str], shell: str) -> None:
    """On a terminal of its own."""
    start = {"bash": ["--norc", "-i"], "zsh": ["-f", "-i"]}[shell]
    child = pexpect.spawn(shell, start, env=env, encoding="utf-8", timeout=60, dimensions=(24, 200))
    child.delaybeforesend = None
    setup = "autoload -U compinit; compinit -u -D; " if shell == "zsh" else ""
    child.sendline(f"{setup}PS1='next''> '; source <(corral completion {shell}); echo read''y")
    child.expect_exact("ready\r\n")
    child.expect_exact("next> ")
    for typed, wanted in (
        ("corral toke\t", "nize "),
        ("tw\t", "o:latest "),
        ("--cou\t", "nt "),
    ):
        child.send(typed)
        child.expect_exact(wanted)
    child.sendcontrol("c")  # what is typed before the shell has seen it would be lost
    child.expect_exact("next> ")
    child.send("corral rm team/three:\t")
    child.expect_exact("v1")
    child.sendcontrol("c")
    child.close(force=True)


def test_scripts_know_everything() -> None:
    """Every command and flag is in every script; the agents are those that launch knows."""
    for shell in ("bash", "zsh", "fish"):
        text = script(shell)
        for command in COMMANDS:
            if not command.is_hidden:
                assert command.name in text
                assert all(flag.name in text for flag in command.flags)
    assert _WORDS["launch"] == tuple(agent.name for agent in AGENTS)


def test_an_unknown_shell(env: dict[str, str]) -> None:
    """The error names those that there are."""
    done = subprocess.run(
        ["corral", "completion", "csh"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "Error: unknown shell: csh; corral completion knows bash, zsh and fish\n"


@needs("mandoc")
def test_the_manual_page_is_sound() -> None:
    """mandoc has nothing to object to; the date is left out on purpose."""
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"],
        input=manual_page(),
        capture_output=True,
        text=True,
        timeout=60,
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
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    for command in COMMANDS:
        if not command.is_hidden:
            assert f"   {command.name}" in shown.stdout
            assert all(f"--{flag.name}" in shown.stdout for flag in command.flags)
