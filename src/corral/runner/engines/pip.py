"""pip in a child process: it fetches wheels, unpacks them, and compiles. It ends, with all it started, when we do."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from corral.runner.engines.folders import EngineSetupError

_TICK_S = 0.25
_CHUNK_BYTES = 1 << 16
_MAX_LINES = 4000
# Runs a command in a session of its own and kills all of it when standard input ends, which is when we do.
_GUARD = """
import os, signal, subprocess, sys, threading
def watch():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
os.nice(5)
sys.exit(subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL))
"""
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|File too large|\[Errno (?:28|122|27)\]")
_ERROR = re.compile(r"^\s*(?:ERROR|error|fatal)\b|Error:|error:")
_SECRET = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass
class Output:
    """The end of what a command printed, and its exit status."""

    lines: list[str] = field(default_factory=list)
    status: int = 0

    def add(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) > _MAX_LINES:
            del self.lines[: _MAX_LINES // 2]

    def reason(self) -> str:
        """The line that says why it failed, as far as lines can be told apart."""
        told = [line.strip() for line in self.lines if line.strip()]
        errors = [line for line in told if _ERROR.search(line)]
        return _SECRET.sub("", (errors or told or [f"exit status {self.status}"])[-1])[:500]

    @property
    def is_out_of_space(self) -> bool:
        return any(_NO_SPACE.search(line) for line in self.lines)


def pip_command() -> list[str]:
    """How pip is called. Without pip in this environment, the one inside Python serves.

    Raises:
        EngineSetupError: there is neither.
    """
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    with contextlib.suppress(ImportError):
        import ensurepip

        wheels = sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
        if wheels:
            return [sys.executable, str(wheels[-1] / "pip")]
    raise EngineSetupError(
        "pip is needed to install or build an engine, and this Python does not have it",
        hint="install it: apt install python3-pip, dnf install python3-pip, or uv pip install pip",
    )


def source_variables(index: str, empty_folder: Path) -> dict[str, str]:
    """Variables that let pip look at one index, or one folder of wheels, and nowhere else.

    They replace what a configuration file names; an empty value would not. The address is not an argument, because
    it may hold a password and arguments are public.
    """
    variables = {
        "PIP_NO_INDEX": "0",
        "PIP_PRE": "0",
        "PIP_CONSTRAINT": os.devnull,
        "PIP_FIND_LINKS": str(empty_folder),
    }
    if Path(index).is_dir():
        return {**variables, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(Path(index).absolute())}
    return {**variables, "PIP_INDEX_URL": index, "PIP_EXTRA_INDEX_URL": index}


def without_secrets(address: str) -> str:
    """An address without the user name and password that it may hold."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, fragment="").geturl() if parts.netloc else address


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    on_line: Callable[[str], None] = lambda _line: None,
    on_tick: Callable[[], None] = lambda: None,
) -> Output:
    """Run a command to its end. All that it prints goes to `log`; `on_tick` is called four times a second.

    Raises:
        OSError: the log cannot be written.
    """
    output = Output()
    with log.open("a", buffering=1, errors="replace") as file, _running(command, env) as process:
        for line in _lines(process, on_tick):
            file.write(_SECRET.sub("", line) + "\n")
            output.add(line)
            on_line(line)
        output.status = process.wait()
    return output


def _lines(process: subprocess.Popen[bytes], on_tick: Callable[[], None]) -> Iterator[str]:
    assert process.stdout is not None
    handle, rest = process.stdout.fileno(), b""
    while True:
        if not select.select([handle], [], [], _TICK_S)[0]:
            on_tick()
            continue
        chunk = os.read(handle, _CHUNK_BYTES)
        *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
        if not chunk or len(rest) > _CHUNK_BYTES:
            yield from [rest.decode("utf-8", "replace")] if rest else []
            rest = b""
        if not chunk:
            return


@contextlib.contextmanager
def _running(command: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends, with all that it started, when this context or this process does."""
    process = subprocess.Popen(
        [sys.executable, "-c", _GUARD, *command],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdin.close()
        process.stdout.close()
