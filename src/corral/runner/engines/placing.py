"""From a wheel to an engine in its place: checked, unpacked by pip, proven in a child, and only then put there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from corral.digest import hash_file
from corral.runner.engines import pip, wheels
from corral.runner.engines.facts import EngineFacts, read_facts, write_facts
from corral.runner.engines.folders import EngineSetupError, engine_folder, engines_folder, put_in_place
from corral.runner.engines.prove import prove

Progress = Callable[[float, str], None]
# The share of an installation that is done when the wheel is here, and when it is unpacked.
FETCHED, _UNPACKED = 0.85, 0.93
_BACKENDS = {"native": "cpu"}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Settings of pip that would send its work elsewhere, or change what it prints.
_UNWANTED = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REQUIRE_HASHES",
    "PIP_DRY_RUN",
    "PIP_LOG",
    "PIP_QUIET",
)


def backend_of(name: str) -> str:
    """What the engine of a name computes with."""
    return _BACKENDS.get(name, name)


def unpack(
    home: Path,
    facts: EngineFacts,
    wheel: Path,
    work: Path,
    log: Path,
    on_progress: Progress,
    libraries: Sequence[Path] = (),
) -> EngineFacts:
    """Check a wheel, unpack it, prove that it works, and put it into place. For the holder of the lock.

    `libraries` are put beside the engine. One that could not be tried does not replace one that was.

    Raises:
        EngineSetupError: nothing was changed.
        OSError: the disk is full, or cannot be written.
    """
    on_progress(FETCHED, f"checking {wheel.name}")
    wheels.check_wheel(wheel, facts.version)
    digest = str(hash_file(wheel))
    made = work / "engine"
    command = [*pip.pip_command(), "install", "--no-deps", "--no-index", "--no-compile", "--no-input"]
    command += ["--disable-pip-version-check", "--target", str(made), str(wheel)]
    output = pip.run(command, env=pip_environment(work), log=log)
    if output.status != 0:
        raise _unpack_error(output, wheel, facts.backend)
    for path in libraries:
        shutil.copy(path, made / wheels.PACKAGE)
    on_progress(_UNPACKED, "importing it and listing its devices")
    proof = prove(made)
    _check_replaceable(home, facts, proof.unproven)
    facts = replace(
        facts,
        digest=digest,
        features=proof.features,
        devices=proof.devices,
        unproven=proof.unproven,
        built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    write_facts(made, facts)
    put_in_place(home, facts.name, made)
    on_progress(1.0, f"the {facts.name} engine is ready")
    return facts


def _check_replaceable(home: Path, facts: EngineFacts, unproven: str) -> None:
    old = read_facts(engine_folder(home, facts.name), facts.name)
    if unproven and old is not None and not old.unproven and old.version == facts.version:
        raise EngineSetupError(
            f"the new {facts.name} engine could not be tried: {unproven}. The one that is here stays",
            hint=f"to replace it all the same, remove it first: corral engine remove {facts.name}",
        )


def pip_environment(work: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for pip: ours, but its temporary files are on the engine's own disk."""
    folder = work / "tmp"
    folder.mkdir(exist_ok=True)
    named = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    return {
        **named,
        "TMPDIR": str(folder),
        "PYTHONUNBUFFERED": "1",
        "PIP_USER": "0",
        "LC_ALL": "C.UTF-8",
        **(more or {}),
    }


def _unpack_error(output: pip.Output, wheel: Path, backend: str) -> EngineSetupError:
    text = "\n".join(output.lines)
    if output.is_out_of_space:
        return no_space()
    if "is not a supported wheel" in text:
        return EngineSetupError(
            f"{wheel.name} is not for {wheels.this_platform()}",
            hint=f"take another wheel, or compile it here: corral engine build {backend}",
        )
    return EngineSetupError(f"{wheel.name} could not be unpacked: {output.reason()}")


def no_space() -> EngineSetupError:
    return EngineSetupError(
        "there is not enough space on the disk for the engine",
        hint="make room, or move Corral's folder to another disk with CORRAL_HOME",
    )


@contextlib.contextmanager
def disk_errors(home: Path) -> Iterator[None]:
    """Say in words what the disk refuses."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_SPACE:
            raise no_space() from None
        raise EngineSetupError(f"{engines_folder(home)} cannot be used: {exc.strerror or exc}") from None
