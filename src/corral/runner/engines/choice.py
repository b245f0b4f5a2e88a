"""Which engine serves: the wheel that Corral depends on, the same compiled for this CPU, or a llama-server binary.

    ~/.corral/engine                 the name that `corral engine use` chose
    ~/.corral/engines/native/        a package folder with `xllamacpp` compiled here, and `build.json` about it

`CORRAL_HOME` moves the folder. A choice that has become impossible (the build was deleted, or is of another version
than the wheel) is an error that says what to do, never another engine in silence.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corral.errors import CorralError

BUILTIN = "builtin"
NATIVE = "native"
_PACKAGE = "xllamacpp"


class UnknownEngineError(CorralError):
    """An engine of this name is not here."""


@dataclass(frozen=True, slots=True)
class Engine:
    """`package_folder`: where to import the engine from instead of the environment; `server_path`: a binary."""

    name: str
    version: str = ""
    package_folder: Path | None = None
    server_path: Path | None = None


def home_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where Corral keeps what is not a model."""
    return Path(env.get("CORRAL_HOME") or Path.home() / ".corral")


def native_folder(home: Path) -> Path:
    return home / "engines" / NATIVE


def wheel_version() -> str:
    """The version of the wheel in this environment; empty without one."""
    from importlib.metadata import PackageNotFoundError, version  # no server start waits for this

    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return ""


def installed_engines(home: Path) -> list[Engine]:
    """All engines that could serve, the built-in one first."""
    found = [Engine(BUILTIN, wheel_version())] if wheel_version() else []
    if (native := _native(home)) is not None:
        found.append(native)
    if server := shutil.which("llama-server"):
        found.append(Engine("llama-server", server_path=Path(server)))
    return found


def _native(home: Path) -> Engine | None:
    folder = native_folder(home)
    try:
        facts = json.loads((folder / "build.json").read_text())
        return Engine(NATIVE, str(facts["version"]), package_folder=folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_engine(name: str, home: Path) -> Engine:
    """The engine of a name: `builtin`, `native`, `llama-server` (on PATH), or the path of a binary.

    Raises:
        UnknownEngineError
    """
    if name == NATIVE:
        native = _native(home)
        if native is None:
            raise UnknownEngineError(
                "there is no native build of the engine", hint="build it: corral engine build"
            )
        if wheel_version() and native.version != wheel_version():
            raise UnknownEngineError(
                f"the native build of the engine has version {native.version}, Corral needs {wheel_version()}",
                hint="rebuild it with corral engine build, or switch back with corral engine use builtin",
            )
        return native
    if name == BUILTIN:
        return Engine(BUILTIN)
    found = shutil.which("llama-server" if name == "path" else name)
    if found is None:
        raise UnknownEngineError(
            f"error starting llama-server: llama-server binary not found (checked: {name})",
            hint="use builtin, native, or the path of a llama-server binary",
        )
    return Engine("llama-server", server_path=Path(found).absolute())


def chosen_name(home: Path) -> str:
    """What `corral engine use` chose; `builtin` if nothing."""
    try:
        return (home / "engine").read_text().strip() or BUILTIN
    except OSError:
        return BUILTIN


def use_engine(name: str, home: Path) -> Engine:
    """Choose the engine of servers started from now on.

    Raises:
        UnknownEngineError
    """
    engine = find_engine(name, home)
    home.mkdir(parents=True, exist_ok=True)
    stored = str(engine.server_path) if engine.server_path else engine.name
    temporary = home / f".engine.{os.getpid()}"
    temporary.write_text(stored + "\n")
    temporary.replace(home / "engine")
    return engine
