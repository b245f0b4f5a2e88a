"""Which engine serves: the wheel that Corral depends on, another build of its version, or a llama-server binary.

    ~/.corral/engine                 the name that `corral engine use` chose
    ~/.corral/engines/NAME/          a package folder with `xllamacpp` for `cuda`, `rocm` or `vulkan`, or compiled for
                                     this CPU (`native`), and `build.json` about it

`CORRAL_HOME` moves the folder. A choice that has become impossible (the build was deleted, or is of another version
than the wheel) is an error that says what to do, never another engine in silence.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from corral.disk import write_atomically
from corral.errors import CorralError
from corral.runner.engines.facts import EngineFacts, read_facts
from corral.runner.engines.folders import NAMES, NATIVE, engine_folder, known_name

BUILTIN = "builtin"
# No engine in particular: see `automatic.py`.
AUTO = "auto"
_PACKAGE = "xllamacpp"


class UnknownEngineError(CorralError):
    """An engine of this name is not here."""


@dataclass(frozen=True, slots=True)
class Engine:
    """`package_folder`: where to import the engine from instead of the environment; `server_path`: a binary.

    `facts`: what was recorded when it was installed or built.
    """

    name: str
    version: str = ""
    package_folder: Path | None = None
    server_path: Path | None = None
    facts: EngineFacts | None = None


def wheel_version() -> str:
    """The version of the wheel in this environment; empty without one."""
    from importlib.metadata import PackageNotFoundError, version  # no server start waits for this

    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return ""


def installed_engines(home: Path) -> list[Engine]:
    """All engines that are here, the built-in one first; those of another version than the wheel too."""
    found = [Engine(BUILTIN, wheel_version())] if wheel_version() else []
    found += [engine for name in reversed(NAMES) if (engine := _own(home, name)) is not None]
    if server := shutil.which("llama-server"):
        found.append(Engine("llama-server", server_path=Path(server)))
    return found


def _own(home: Path, name: str) -> Engine | None:
    folder = engine_folder(home, name)
    facts = read_facts(folder, name)
    return Engine(name, facts.version, package_folder=folder, facts=facts) if facts else None


def find_engine(name: str, home: Path) -> Engine:
    """The engine of a name: `builtin`, one of `NAMES`, `llama-server` (on PATH), or the path of a binary.

    Raises:
        UnknownEngineError
    """
    if own := known_name(name):
        return _find_own(own, home)
    if name == BUILTIN:
        return Engine(BUILTIN)
    found = shutil.which("llama-server" if name == "path" else name)
    if found is None:
        raise UnknownEngineError(
            f"error starting llama-server: llama-server binary not found (checked: {name})",
            hint=f"use {BUILTIN}, {', '.join(NAMES)}, or the path of a llama-server binary",
        )
    return Engine("llama-server", server_path=Path(found).absolute())


def _find_own(name: str, home: Path) -> Engine:
    verb = "build" if name == NATIVE else f"install {name}"
    engine = _own(home, name)
    if engine is None and name == NATIVE:
        raise UnknownEngineError(
            "there is no native build of the engine", hint="build it: corral engine build"
        )
    if engine is None:
        raise UnknownEngineError(
            f"the {name} engine is not installed", hint=f"install it: corral engine install {name}"
        )
    if wheel_version() and engine.version != wheel_version():
        raise UnknownEngineError(
            f"the {name} build of the engine has version {engine.version}, Corral needs {wheel_version()}",
            hint=f"renew it with corral engine {verb}, or switch back with corral engine use {BUILTIN}",
        )
    return engine


def stored_name(home: Path) -> str:
    """What `corral engine use` chose; empty if nothing."""
    try:
        return (home / "engine").read_text().strip()
    except OSError:
        return ""


def chosen_name(home: Path) -> str:
    """What `corral engine use` chose; `builtin` if nothing in particular."""
    name = stored_name(home)
    return BUILTIN if name in ("", AUTO) else name


def use_engine(name: str, home: Path) -> Engine:
    """Choose the engine of servers started from now on.

    Raises:
        UnknownEngineError
    """
    engine = Engine(AUTO) if name.lower() == AUTO else find_engine(name, home)
    stored = str(engine.server_path) if engine.server_path else engine.name
    write_atomically(home / "engine", f"{stored}\n".encode())
    return engine
