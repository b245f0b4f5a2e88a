"""Engines that are installed, replaced and removed, and prompts that are kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from corral.runner.engines.facts import read_facts
from corral.runner.engines.folders import engine_folder, locked, put_in_place, remove_engine, workplace
from corral.runner.prompt_states import PromptStates
from tests.crashplans.workload import Step, Workload


def _home(root: Path) -> Path:
    return root / "corral"


def _install(version: str) -> Step:
    def do(root: Path) -> None:
        home = _home(root)
        with locked(home), workplace(home, "vulkan") as place:
            made = place / "made"
            (made / "xllamacpp").mkdir(parents=True)
            (made / "xllamacpp" / "library.so").write_bytes(version.encode() * 3000)
            (made / "build.json").write_text(json.dumps({"version": version}))
            put_in_place(home, "vulkan", made)

    return Step(f"install {version}", do)


def _remove(root: Path) -> None:
    with locked(_home(root)):
        remove_engine(_home(root), "vulkan")


def _start_engines(root: Path) -> None:
    read_facts(engine_folder(_home(root), "vulkan"), "vulkan")


def _verify_engines(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    folder = engine_folder(_home(root), "vulkan")
    order = ["install a", "install b", "remove", "install c"]
    done = [name for name in order if name in answers]
    last = done[-1] if done else "remove"
    allowed = {name.removeprefix("install ") for name in (last, doubtful)}
    if not folder.is_dir():
        found = "remove"
    else:
        # What is there under the name of an engine is whole.
        try:
            found = json.loads((folder / "build.json").read_text())["version"]
            whole = (folder / "xllamacpp" / "library.so").read_bytes() == found.encode() * 3000
        except (OSError, ValueError) as exc:
            yield f"the engine is not whole: {exc}"
            return
        if not whole:
            yield f"the library of engine {found} is not whole"
    if found not in allowed:
        yield f"the engine is {found!r}, not one of {allowed}"
    with locked(_home(root)):  # whoever makes engines next removes what was left
        pass
    if left := [path.name for path in folder.parent.glob(".[no]*")]:
        yield f"left behind: {left}"


# Prompts


def _states(root: Path) -> tuple[PromptStates, Path]:
    folder = root / "prompts" / f"{'a' * 16}-{'b' * 16}"
    return PromptStates(root / "prompts", 100), folder


def _content(prompt: str) -> bytes:
    return hashlib.sha512(prompt.encode()).digest() * 100


def _keep(prompt: str) -> Step:
    def do(root: Path) -> None:
        states, folder = _states(root)
        path = states.new_path(folder)
        with path.open("wb") as file:  # the engine does that
            file.write(_content(prompt))
        states.keep(path, prompt, len(prompt))

    return Step(f"keep {prompt}", do)


def _verify_states(root: Path, answers: Mapping[str, Any], _doubtful: str) -> Iterator[str]:
    """A state that is offered is whole; one that was kept is there, unless a longer one continues it."""
    states, folder = _states(root)
    found = {str(state.prompt): state for state in states.saved(folder)} if folder.exists() else {}
    for prompt, state in found.items():
        if state.path.read_bytes() != _content(prompt):
            yield f"the state of {prompt!r} has another content"
        if (state.path.stat().st_mode | state.note_path.stat().st_mode) & 0o77:
            yield f"others may read the state of {prompt!r}"
    for name in answers:
        prompt = name.removeprefix("keep ")
        if not any(other.startswith(prompt) for other in found):
            yield f"the state of {prompt!r} is gone"


def _start_states(root: Path) -> None:
    states, folder = _states(root)
    states.sweep()
    for state in states.saved(folder) if folder.exists() else ():
        states.touch(state)


def _nothing(_root: Path) -> None:
    """There is nothing before."""


WORKLOADS: tuple[Workload, ...] = (
    Workload(
        "engines",
        _nothing,
        (_install("a"), _install("b"), Step("remove", _remove), _install("c")),
        _start_engines,
        _verify_engines,
    ),
    Workload(
        "prompts", _nothing, (_keep("one"), _keep("one and two"), _keep("x")), _start_states, _verify_states
    ),
)
