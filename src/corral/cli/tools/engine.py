"""`engine`: lists, builds and selects engines. Needs no server."""

from __future__ import annotations

import sys

from corral.cli.frame.flags import PROGRAM, Arguments, UsageError
from corral.cli.terminal.formatting import format_table
from corral.cli.terminal.screen import is_terminal, terminal_size
from corral.homefolder import home_folder
from corral.runner.engines.choice import chosen_name, installed_engines, use_engine

_PERCENT_STEP = 5


def engine(arguments: Arguments) -> None:
    """`engine [list]`, `engine build`, `engine use NAME`."""
    words = arguments.words or ["list"]
    match words:
        case ["list"]:
            _list()
        case ["build"]:
            _build(use=not arguments.has("no-use"), jobs=int(arguments.get("jobs") or 0))
        case ["use", name]:
            chosen = use_engine(name, home_folder())
            print(f"engine '{chosen.name}' will be used by every server started from now on")
        case _:
            raise UsageError(f"usage: {PROGRAM} engine [list | build | use builtin|native|llama-server|PATH]")


def _list() -> None:
    from corral.runner.engines.build import BuildFailedError, read_features

    home = home_folder()
    chosen = chosen_name(home)
    rows = []
    for found in installed_engines(home):
        is_chosen = chosen in (found.name, str(found.server_path))
        if found.server_path is not None:
            features = str(found.server_path)
        else:
            try:
                features = _instructions(read_features(found.package_folder))
            except BuildFailedError as error:
                features = f"broken: {error}"
        rows.append(("*" if is_chosen else "", found.name, found.version or "-", features))
    sys.stdout.write(format_table(rows, header=("", "NAME", "VERSION", "USES")))


def _instructions(features: str) -> str:
    """The features that are on in `CPU : SSE3 = 1 | AVX = 1 | ...`."""
    names = []
    for entry in features.partition(":")[2].split("|"):
        name, mark, value = entry.partition("=")
        if mark and value.strip() not in ("0", ""):
            names.append(name.strip())
    return " ".join(names) or features


def _build(*, use: bool, jobs: int) -> None:
    from corral.runner.engines.build import build_native

    home = home_folder()
    print(
        f"Compiling the engine for this CPU into {home / 'engines'}: about ten minutes on two cores. "
        "Ctrl-C cancels; nothing is changed before the build is complete.",
        file=sys.stderr,
    )
    show = _show_bar if is_terminal(sys.stderr) else _Steps().show
    build_native(home, jobs=jobs, on_progress=show)
    if is_terminal(sys.stderr):
        print(file=sys.stderr)
    if use:
        use_engine("native", home)
        print("The native engine is ready and will be used from the next server start on.")
    else:
        print(f"The native engine is ready. To use it: {PROGRAM} engine use native")


def _show_bar(share: float, line: str) -> None:
    width, _ = terminal_size(sys.stderr)
    room = max(min(width - 40, 40), 10)
    done = int(room * share)
    text = f"building engine {share:4.0%} ▕{'█' * done}{' ' * (room - done)}▏ {line}"
    sys.stderr.write("\r\x1b[K" + "".join(c for c in text if c.isprintable())[: width - 1])
    sys.stderr.flush()


class _Steps:
    """Progress where lines cannot be rewritten: one line every few percent."""

    def __init__(self) -> None:
        self._next = 0

    def show(self, share: float, _line: str) -> None:
        percent = int(share * 100)
        if percent >= self._next:
            print(f"building engine {percent}%", file=sys.stderr, flush=True)
            self._next = percent - percent % _PERCENT_STEP + _PERCENT_STEP
