"""`engine`: lists, installs, builds, selects and removes engines. Needs no server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from corral.cli.frame.flags import PROGRAM, Arguments, UsageError
from corral.cli.terminal.screen import is_terminal, terminal_size
from corral.homefolder import home_folder
from corral.runner.engines.choice import chosen_name, use_engine
from corral.runner.engines.folders import NATIVE, known_name

_PERCENT_STEP = 5
_BUILD_FLAGS = ("arch", "clean", "jobs", "no-use")
_INSTALL_FLAGS = ("index-url", "wheel", "no-use")
_FLAGS = {
    "list": ("json",),
    "info": ("json",),
    "install": _INSTALL_FLAGS,
    "build": _BUILD_FLAGS,
    "use": (),
    "remove": (),
}
_USAGE = (
    f"usage: {PROGRAM} engine [list | info [NAME] | install NAME | build [NAME] | use NAME | remove NAME]; NAME is "
    "cuda, rocm, vulkan or native (install: or auto; use: or auto, builtin, llama-server, PATH)"
)
_TIMES = {
    NATIVE: "about ten minutes on two cores",
    "vulkan": "about half an hour on two cores",
    "cuda": "an hour or more",
    "rocm": "an hour or more",
}


def engine(arguments: Arguments) -> None:
    """`engine [list]`, `engine install NAME`, `engine build [NAME]`, `engine use NAME`, and so on."""
    words = arguments.words or ["list"]
    if foreign := [flag for flag in arguments.flags if flag not in _FLAGS.get(words[0], (flag,))]:
        raise UsageError(f"--{foreign[0]} does not belong to engine {words[0]}; {_USAGE}")
    match words:
        case ["list"]:
            from corral.cli.tools.engine_listing import show_list

            show_list(as_json=arguments.has("json"))
        case ["info", *names] if len(names) < 2:
            from corral.cli.tools.engine_listing import show_info

            show_info(names[0] if names else "", as_json=arguments.has("json"))
        case ["install", name]:
            _install(name, arguments)
        case ["build", *names] if len(names) < 2:
            _build(_own_name(names[0] if names else NATIVE), arguments)
        case ["use", name]:
            chosen = use_engine(name, home_folder())
            print(f"engine '{chosen.name}' will be used by every server started from now on")
        case ["remove", name]:
            _remove(_own_name(name))
        case _:
            raise UsageError(_USAGE)


def _own_name(text: str) -> str:
    name = known_name(text)
    if not name:
        raise UsageError(f"there is no engine '{text}' to install, build or remove; {_USAGE}")
    return name


def _install(text: str, arguments: Arguments) -> None:
    from corral.runner.engines.cards import advise, index_folder
    from corral.runner.engines.install import install_engine
    from corral.runner.engines.wheels import DEFAULT_INDEX, index_addresses

    index, wheel = arguments.get("index-url"), arguments.get("wheel")
    if index and wheel:
        raise UsageError("only one of '--index-url' or '--wheel' can be specified")
    if text == "auto":
        advice = advise()
        print(advice.reason, file=sys.stderr)
        if not advice.name:
            return
        text = advice.name
    name = _own_name(text)
    mirror = _mirror()
    if name == NATIVE and not (index or wheel or mirror):
        print("There is no ready-made engine for one CPU; it is compiled here.", file=sys.stderr)
        _build(name, arguments)
        return
    addresses = (
        (index,) if index else () if wheel else index_addresses(mirror or DEFAULT_INDEX, index_folder(name))
    )
    progress = _Progress("installing")
    facts = install_engine(
        home_folder(),
        name,
        addresses=addresses,
        wheel=Path(wheel) if wheel else None,
        on_progress=progress.show,
    )
    progress.end()
    _finish(facts.name, has_gpu=facts.has_gpu, unproven=facts.unproven, use=not arguments.has("no-use"))


def _mirror() -> str:
    from corral.config import Settings

    return Settings.from_env(os.environ).engine_index


def _build(name: str, arguments: Arguments) -> None:
    from corral.runner.engines.build import build_engine

    home = home_folder()
    print(
        f"Compiling the {name} engine into {home / 'engines'}: {_TIMES[name]}. "
        "It can be stopped with Ctrl-C at any time; the same command goes on from there.",
        file=sys.stderr,
    )
    progress = _Progress("building")
    facts = build_engine(
        home,
        name,
        arch=arguments.get("arch"),
        jobs=arguments.integer("jobs"),
        clean=arguments.has("clean"),
        on_progress=progress.show,
    )
    progress.end()
    if facts.without:
        print(
            f"glslc is too old for {', '.join(facts.without)}: cards that have them will compute slower than they "
            "could. A newer one is in the Vulkan SDK (set VULKAN_SDK); then build again.",
            file=sys.stderr,
        )
    _finish(name, has_gpu=facts.has_gpu, unproven=facts.unproven, use=not arguments.has("no-use"))


def _finish(name: str, *, has_gpu: bool, unproven: str, use: bool) -> None:
    """Select an engine that can do what it is for; say what keeps another one from it."""
    by_hand = f"To use it: {PROGRAM} engine use {name}"
    if unproven:
        print(f"The {name} engine is here, but could not be tried: {unproven}. {by_hand}")
    elif name != NATIVE and not has_gpu:
        print(f"The {name} engine is here, but lists no GPU ({PROGRAM} engine info {name}). {by_hand}")
    elif use:
        use_engine(name, home_folder())
        print(f"The {name} engine is ready and will be used from the next server start on.")
    else:
        print(f"The {name} engine is ready. {by_hand}")


def _remove(name: str) -> None:
    from corral.runner.engines.buildtree import remove_begun
    from corral.runner.engines.folders import locked, remove_engine

    home = home_folder()
    with locked(home):
        was_begun = remove_begun(home, name)
        was_here = remove_engine(home, name)
        is_chosen = known_name(chosen_name(home)) == name
        if is_chosen:
            (home / "engine").unlink(missing_ok=True)
    if was_begun:
        print(f"what was compiled of the {name} engine was removed")
    if not was_here:
        print(f"the {name} engine is not installed")
    elif is_chosen:
        print(f"the {name} engine was removed; servers started from now on choose one themselves (auto)")
    else:
        print(f"the {name} engine was removed")


class _Progress:
    """A bar on a terminal; elsewhere one line every few percent."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._is_terminal = is_terminal(sys.stderr)
        self._next = 0

    def show(self, share: float, text: str) -> None:
        if self._is_terminal:
            self._show_bar(share, text)
        elif (percent := int(share * 100)) >= self._next:
            print(f"{self._verb} engine {percent}%", file=sys.stderr, flush=True)
            self._next = percent - percent % _PERCENT_STEP + _PERCENT_STEP

    def _show_bar(self, share: float, text: str) -> None:
        width, _ = terminal_size(sys.stderr)
        room = max(min(width - 40, 40), 10)
        done = int(room * share)
        line = f"{self._verb} engine {share:4.0%} ▕{'█' * done}{' ' * (room - done)}▏ {text}"
        sys.stderr.write("\r\x1b[K" + "".join(c for c in line if c.isprintable())[: width - 1])
        sys.stderr.flush()

    def end(self) -> None:
        if self._is_terminal:
            print(file=sys.stderr)
