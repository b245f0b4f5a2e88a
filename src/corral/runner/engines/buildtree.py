"""Where an engine is compiled: a folder that stays if the build ends early, so that the next one goes on in it.

    ~/.corral/engines/.build-NAME/source/     the engine's source, with all that was compiled
    ~/.corral/engines/.build-NAME/tools/      CMake and Ninja, if they came from PyPI
    ~/.corral/engines/.build-NAME/cuda/       NVIDIA's compiler and cuBLAS, if they came from PyPI
    ~/.corral/engines/.build-NAME/made.json   of what version, and with what, it is compiled

Ninja builds, because it notes each command that has ended: a file whose compiler was killed is compiled again. Make
would take half a file for a whole one.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.runner.engines import pip, wheels
from corral.runner.engines.folders import NAMES, EngineSetupError, discard, engines_folder
from corral.runner.engines.placing import no_space, pip_environment

_OBJECTS = "source/thirdparty/llama.cpp/build"
_FACTS = "made.json"
# There once a toolkit from PyPI is whole; it is too large to be fetched twice.
TOOLKIT_MARK = "cuda/.complete"
_MAX_BYTES = 1 << 20


def build_folder(home: Path, name: str) -> Path:
    """Where the engine of a name is compiled; `name` is one of `folders.NAMES`."""
    assert name in NAMES
    return engines_folder(home) / f".build-{name}"


def begun_builds(home: Path) -> list[str]:
    """The names of engines whose build has ended early and can go on."""
    return [name for name in NAMES if _is_begun(build_folder(home, name))]


def _is_begun(tree: Path) -> bool:
    return (tree / _FACTS).is_file() or (tree / TOOLKIT_MARK).is_file()


def remove_begun(home: Path, name: str) -> bool:
    """Remove what an unfinished build has left; False if there is none. For the holder of the lock."""
    was_begun = name in begun_builds(home)
    discard(build_folder(home, name))
    return was_begun


def open_tree(home: Path, name: str, *, clean: bool) -> Path:
    """The folder to compile in, as the last build has left it (`clean`: empty). For the holder of the lock."""
    folder = build_folder(home, name)
    if clean:
        discard(folder)
    folder.mkdir(exist_ok=True)
    return folder


def close_tree(folder: Path) -> None:
    """Remove a folder in which there is nothing to go on with."""
    if not _is_begun(folder):
        discard(folder)


def take_source(tree: Path, version: str, work: Path, log: Path) -> Path:
    """The source of a version, from PyPI if it is not here.

    Raises:
        EngineSetupError
        OSError: the disk cannot be written.
    """
    source = tree / "source"
    if _facts(tree).get("version") == version and source.is_dir():
        return source
    (tree / _FACTS).unlink(missing_ok=True)
    discard(source)
    target = work / "sdist"
    command = [*pip.pip_command(), "download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    command += ["--no-binary", wheels.PACKAGE, "--dest", str(target), f"{wheels.PACKAGE}=={version}"]
    output = pip.run(command, env=pip_environment(work), log=log)
    if output.is_out_of_space:
        raise no_space()
    archive = next(target.glob("*.tar.gz"), None)
    if output.status != 0 or archive is None:
        raise EngineSetupError(f"the source of the engine did not come: {output.reason()}", hint=f"see {log}")
    shutil.unpack_archive(archive, work / "unpacked", filter="data")
    next((work / "unpacked").iterdir()).rename(source)
    return source


def settle(tree: Path, version: str, settings: Mapping[str, Any]) -> bool:
    """Note what the source is compiled with, and drop what was compiled with something else.

    Returns whether something is left to go on with.
    """
    noted = {"version": version, "settings": dict(settings)}
    if _facts(tree) != noted:
        (tree / _FACTS).unlink(missing_ok=True)
        discard(tree / _OBJECTS)
        (tree / _FACTS).write_text(json.dumps(noted, indent=1) + "\n")
    # The package's own part: it takes seconds, and is not compared with what is linked into it.
    discard(tree / "source/build")
    return (tree / _OBJECTS).is_dir()


def compiled_files(tree: Path) -> list[str]:
    """The names of what is compiled, relative to the folder of the build."""
    objects = tree / _OBJECTS
    return [str(path.relative_to(objects)) for path in objects.rglob("*") if _IS_COMPILED.search(path.name)]


_IS_COMPILED = re.compile(r"\.(?:cu|cpp|c|cc)\.o$|\.comp\.cpp$")


def _facts(tree: Path) -> dict[str, Any]:
    try:
        with (tree / _FACTS).open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
