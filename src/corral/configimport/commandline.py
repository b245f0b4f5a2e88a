"""What a command of llama-swap runs: the options of llama-server, if it is that."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

_SERVERS = ("llama-server", "llama-server.exe", "llama-swap-llama-server")
_SHELLS = ("sh", "bash", "dash", "zsh")
_CONTAINERS = ("docker", "podman", "nerdctl")
# Options of `docker run` without a value; all others have one, behind a blank or an equals sign.
_BARE_OPTIONS = frozenset(
    "--rm --init -i -t -it -ti --interactive --tty -d --detach --privileged --read-only --no-healthcheck -P "
    "--publish-all --oom-kill-disable --sig-proxy --disable-content-trust --replace --tls-verify".split()
)
_MAX_WORDS = 5000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


class CommandError(ValueError):
    """The command is not one of llama-server; the text says what it is."""


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """The options of llama-server. `folders` maps folders that the command sees to those of this machine.

    `variables` are `NAME=VALUE`, as the command sets them.
    """

    words: tuple[str, ...]
    folders: tuple[tuple[str, str], ...] = ()
    variables: tuple[str, ...] = ()

    def path(self, text: str) -> str:
        """A path of the command as a path of this machine."""
        for inside, outside in self.folders:
            if text == inside or text.startswith(inside.rstrip("/") + "/"):
                return outside + text[len(inside.rstrip("/")) :]
        return text


def server_command(text: str) -> ServerCommand:
    """The options of llama-server in a command, whose macros are replaced.

    Raises:
        CommandError
    """
    words = _words(text)
    for _ in range(2):  # a shell in a wrapper at most
        program = PurePosixPath(words[0]).name if words else ""
        if program in _SHELLS and "-c" in words[:-1]:
            words = _words(words[words.index("-c") + 1].removeprefix("exec "))
    for i, word in enumerate(words):
        name = PurePosixPath(word.replace("\\", "/")).name
        if name.lower() in _SERVERS or name.startswith("llama-server-"):
            variables = tuple(word for word in words[:i] if _VARIABLE.match(word))
            return ServerCommand(tuple(words[i + 1 :]), variables=variables)
        if name in _CONTAINERS:
            return _in_container(words[i + 1 :])
    shown = PurePosixPath(words[0]).name if words else ""
    raise CommandError(
        f"its command runs {shown!r} and not llama-server" if shown else "its command is empty"
    )


def _words(text: str) -> list[str]:
    """The words of a command; lines that begin with # are comments, and a backslash continues a line.

    Raises:
        CommandError
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = " ".join(line.rstrip().removesuffix("\\") for line in lines)
    try:
        words = shlex.split(joined)
    except ValueError as exc:
        raise CommandError(f"its command cannot be read: {str(exc).lower()}") from None
    if len(words) > _MAX_WORDS:
        raise CommandError(f"its command has more than {_MAX_WORDS} words")
    return words


def _in_container(words: list[str]) -> ServerCommand:
    """`docker run OPTIONS IMAGE ARGUMENTS` with an image of llama.cpp.

    Raises:
        CommandError
    """
    if "run" not in words:
        raise CommandError("its command does not run an image")
    rest = words[words.index("run") + 1 :]
    folders: list[tuple[str, str]] = []
    variables: list[str] = []
    entrypoint = ""
    while rest and rest[0].startswith("-"):
        option, mark, value = rest.pop(0).partition("=")
        if not mark and option not in _BARE_OPTIONS:
            value = rest.pop(0) if rest else ""
        if option in ("-v", "--volume"):
            outside, _, inside = value.partition(":")
            folders.append((inside.partition(":")[0], outside))
        elif option == "--mount":
            folders += _mounted(value)
        elif option in ("-e", "--env"):
            variables.append(value)
        elif option == "--entrypoint":
            entrypoint = value
    image = rest.pop(0) if rest else ""
    is_llama = "llama.cpp" in image or "llama-cpp" in image or "llama-server" in image
    if "llama-server" in entrypoint or (is_llama and not entrypoint):
        if rest and PurePosixPath(rest[0]).name in (*_SERVERS, "--server"):
            rest = rest[1:]
        return ServerCommand(tuple(rest), tuple(folders), tuple(variables))
    raise CommandError(f"its command runs the image {image!r} and not llama-server")


def _mounted(text: str) -> list[tuple[str, str]]:
    """The folders of `--mount type=bind,source=...,target=...`."""
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    inside = parts.get("target") or parts.get("dst") or parts.get("destination") or ""
    outside = parts.get("source") or parts.get("src") or ""
    return [(inside, outside)] if inside and outside else []
