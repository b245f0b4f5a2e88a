"""Compiles the engine from PyPI's source for this very CPU, into a folder of its own.

The wheel has to run everywhere, so it uses what CPUs had ten years ago. A build of the same version on the machine
itself uses all that its CPU has: with AVX-512 prompts are read 1.7 times as fast. Needs a C++ compiler; pip brings
the rest. The old build stays in place until the new one has proven that it can be imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from corral.childenv import child_environment
from corral.errors import CorralError
from corral.runner.engines.choice import wheel_version
from corral.runner.engines.folders import NATIVE, engine_folder

_CMAKE_ARGS = (
    "-DLLAMA_LLGUIDANCE=OFF -DLLAMA_BUILD_BORINGSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF"
)
_STEP = re.compile(r"Building C(?:XX)? object")
# Files that the compiler reads (b11549). Its own percentages begin anew with each part of the build.
_STEP_COUNT = 197
_COMPILERS = ("c++", "g++", "clang++")
_PROBE = "import xllamacpp, sys; sys.stdout.write(xllamacpp.get_system_info())"
_PROBE_TIMEOUT_S = 60.0


class BuildFailedError(CorralError):
    """The engine could not be compiled; `hint` names the log."""


def build_native(
    home: Path, *, jobs: int = 0, on_progress: Callable[[float, str], None] = lambda _share, _line: None
) -> Path:
    """Compile and put into place; returns the folder. Takes ten minutes on two cores.

    `on_progress` hears the share that is done (0 to 1, never less than before) and what is being done.

    Raises:
        BuildFailedError: no compiler, no pip, or the compiler failed.
    """
    wanted = wheel_version()
    if not wanted:
        raise BuildFailedError("the xllamacpp package is not installed, so its version is not known")
    if not any(shutil.which(name) for name in _COMPILERS):
        raise BuildFailedError(
            "no C++ compiler found",
            hint="install one: apt install g++, dnf install gcc-c++, or xcode-select --install",
        )
    folder = engine_folder(home, NATIVE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    target = folder.parent / f".building-{os.getpid()}"
    log = folder.parent / "build.log"
    try:
        _compile(target, log, wanted, jobs or os.cpu_count() or 1, on_progress)
        features = read_features(target)
        facts = {
            "version": wanted,
            "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "features": features,
        }
        (target / "build.json").write_text(json.dumps(facts, indent=1) + "\n")
        old = folder.parent / f".old-{os.getpid()}"
        if folder.exists():
            folder.rename(old)
        target.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    on_progress(1.0, f"the {NATIVE} engine is ready")
    return folder


def _compile(
    target: Path, log: Path, wanted: str, jobs: int, on_progress: Callable[[float, str], None]
) -> None:
    command = [sys.executable, "-m", "pip", "install", "-v", "--no-deps", "--disable-pip-version-check"]
    command += ["--no-binary", "xllamacpp", "--target", str(target), f"xllamacpp=={wanted}"]
    env = {**os.environ, "NPROC": str(jobs), "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs), "PYTHONUNBUFFERED": "1"}
    env["CMAKE_ARGS"] = f"{_CMAKE_ARGS} {os.environ.get('CMAKE_ARGS', '')}".strip()
    tail = ""
    with log.open("w", buffering=1) as file, _running(command, env) as process:
        assert process.stdout is not None
        for share, line in build_progress(_logged(process.stdout, file)):
            tail = line or tail
            on_progress(share, line)
        status = process.wait()
    if status != 0:
        hint = f"see {log}"
        if "No module named pip" in tail:
            hint = "pip is needed in this environment: python -m ensurepip"
        raise BuildFailedError(f"the build failed: {tail}", hint=hint)


def _logged(lines: Iterator[str], file: object) -> Iterator[str]:
    for line in lines:
        file.write(line)  # type: ignore[attr-defined]
        yield line


@contextlib.contextmanager
def _running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends, with all that it started, when this context does."""
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=_be_nice,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _be_nice() -> None:
    os.nice(5)  # a server that runs meanwhile has answers to give


def build_progress(lines: Iterator[str]) -> Iterator[tuple[float, str]]:
    """The share that is done, and the line, for each line of a build's output.

    The compiler's steps make nine tenths of it; what comes before and after is small.
    """
    share, count = 0.0, 0
    for line in lines:
        text = line.strip()
        if _STEP.search(text):
            count += 1
            share = 0.05 + 0.9 * min(count / _STEP_COUNT, 1.0)
        yield share, text


def read_features(package_folder: Path | None) -> str:
    """What a build of the engine says of the CPU features that it uses (None: the one in this environment).

    Raises:
        BuildFailedError: it cannot even be imported.
    """
    env = child_environment()
    if package_folder is not None:
        env["PYTHONPATH"] = str(package_folder)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=env,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BuildFailedError("the engine hangs when it is imported") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise BuildFailedError(f"the engine cannot be imported: {lines[-1]}")
    return done.stdout.strip()
