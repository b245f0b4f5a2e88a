"""Which package may import which. Imports inside functions count: hidden dependencies are dependencies."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "corral"
# Modules on their own, which every package may import. They import each other only.
GROUND = set(
    "accesssettings allowance apiversion assets bounded caller childenv childlimits clustersettings clustervalues "
    "config configfile cores deadline "
    "countingsettings database "
    "devices digest disk enginesettings errors errorwords golang gpus homefolder hostaddress incoming lifetime "
    "line hops listening priorities recentlog "
    "listeningsettings logs loopguard memory modelglobs names rate requestfacts reusesettings setting settingstable "
    "settingvalues supervise systemtext threads tracenotes types urlsecrets".split()
)
# A package may import the ground and these. A package that is not split here counts as one.
MAY_IMPORT = {
    "access": "",
    "cluster": "registry",
    "configimport": "modelfile",
    "modelfile": "",
    "workers": "",
    "web": "",
    "store": "",
    "responses": "",
    "registry": "store",
    "runner": "",
    "scheduler": "runner weights",
    "metrics": "scheduler",
    "usage": "",
    "traces": "",
    # Files of models.
    "weights": "",
    "weights.gguf": "",
    "weights.quantize": "weights.gguf",
    "weights.translate": "weights.gguf weights.quantize",
    "weights.convert": "weights.gguf weights.quantize",
    # How models talk.
    "chat.gotemplate": "",
    "chat.grammar": "",
    "chat": "chat.grammar",
    "chat.parsing": "chat chat.grammar",
    "chat.rendering": "chat",
    "chat.families": "chat chat.grammar chat.parsing chat.rendering",
    "chat.templates": "chat chat.families chat.gotemplate",
    # What the server does.
    "inference": (
        "chat chat.families chat.gotemplate chat.grammar chat.parsing chat.rendering chat.templates runner scheduler "
        "store weights weights.gguf weights.translate workers"
    ),
    "library": (
        "chat.families chat.gotemplate chat.templates inference modelfile registry scheduler store weights.convert "
        "weights.gguf weights.quantize"
    ),
    # HTTP.
    "api": "",
    "api.http": "access api.reading inference metrics usage web workers",
    "api.reading": "chat.grammar",
    "api.keys": "access api.http api.reading",
    "api.native": "api.health api.http api.reading inference library registry scheduler store",
    "api.openai": "api.http api.native api.reading inference library store",
    "api.anthropic": "api.http api.native api.openai api.reading inference",
    "api.responses": "api.http api.openai api.reading inference responses",
    "api.systemone": "api.http api.native api.reading inference",
    "api.cluster": (
        "api.anthropic api.http api.native api.openai api.operations api.reading cluster metrics scheduler store web"
    ),
    "api.operations": "api.http api.native api.reading metrics scheduler usage",
    "api.registry": "api.http api.reading library store",
    "api.openapi": "api.http api.reading",
    "api.ui": "api.http api.reading web",
    "api.health": "api.http api.reading",
    "operations": "",
    "liveparts": "inference operations scheduler",
    "clustering": "access api.cluster api.http api.operations cluster counting metrics operations scheduler store",
    "counting": "access api.http api.native api.operations metrics registry scheduler traces usage",
    "announcing": "access operations",
    "metricsdoor": "api.http operations web",
    "modelhosting": "api.registry library store",
    "server": (
        "announcing clustering metricsdoor modelhosting "
        "access api.health api.http api.keys api.native api.openai api.anthropic api.responses api.systemone "
        "api.operations api.registry api.openapi api.ui counting inference library liveparts operations registry "
        "responses runner scheduler store web weights.translate workers"
    ),
    # The command line.
    "cli.terminal": "",
    "cli.frame": "",
    "cli.http": "cli.frame cli.terminal",
    "cli.models": (
        "cli.frame cli.http cli.terminal library modelfile weights.convert weights.gguf weights.quantize"
    ),
    "cli.conversation": "cli.frame cli.http cli.models cli.terminal modelfile",
    "cli.agents": "cli.frame cli.http cli.terminal",
    "cli.completion": "cli.agents cli.frame cli.http weights.quantize",
    "cli.doctor": "cli.frame cli.http cli.terminal registry runner store",
    "cli.cluster": "access cli.frame cli.http cli.terminal cluster",
    "cli.keys": "access cli.frame cli.http cli.terminal",
    "cli.top": "cli.frame cli.http cli.models cli.terminal",
    "cli.tools": (
        "cli.conversation cli.frame cli.http cli.models cli.terminal configimport inference runner server"
    ),
    "cli": "cli.frame cli.http cli.models cli.terminal",
    "demo": "",
}
MAX_LINES = 500

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in MODULES}


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Names of corral modules that a file imports, wherever in it."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue  # names for annotations: nothing is imported
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.startswith("corral"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module and node.module.split(".")[0] == "corral":
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)
    return frozenset(name if name in NAMES else name.rpartition(".")[0] for name in found)


def package_of(name: str) -> str:
    """The part of `MAY_IMPORT` or `GROUND` that a module belongs to; empty for the package itself."""
    parts = name.split(".")[1:]
    for part in (".".join(parts[:2]), *parts[:1]):
        if part in MAY_IMPORT or part in GROUND:
            return part
    assert not parts, f"{name} has no place in MAY_IMPORT"
    return ""


def test_imports_what_its_package_may() -> None:
    """A new arrow between packages is a decision, made in the table above."""
    refused = {}
    for path in MODULES:
        mine = package_of(module_name(path))
        allowed = {"", mine, *GROUND, *MAY_IMPORT.get(mine, "").split()}
        if others := {package_of(name) for name in imports_of(path)} - allowed:
            refused[module_name(path)] = sorted(others)
    assert not refused, "MAY_IMPORT does not let these modules import those packages"


def test_every_arrow_is_used() -> None:
    """What no module needs any more leaves the table."""
    used: dict[str, set[str]] = {}
    for path in MODULES:
        used.setdefault(package_of(module_name(path)), set()).update(map(package_of, imports_of(path)))
    for package, allowed in MAY_IMPORT.items():
        assert set(allowed.split()) <= used[package], package


def test_no_import_cycles() -> None:
    """Following imports never leads back to where it started, neither between modules nor between packages."""
    modules = {module_name(path): set(imports_of(path)) for path in MODULES}
    packages: dict[str, set[str]] = {}
    for name, others in modules.items():
        mine = package_of(name)
        packages.setdefault(mine, set()).update({package_of(other) for other in others} - {mine, ""})
    for graph in (modules, packages):
        done: set[str] = set()

        def walk(
            name: str, trail: tuple[str, ...], graph: dict[str, set[str]] = graph, done: set[str] = done
        ) -> None:
            assert name not in trail, " -> ".join((*trail, name))
            if name in done:
                return
            for other in graph.get(name, ()):
                if other != name:
                    walk(other, (*trail, name))
            done.add(name)

        for name in graph:
            walk(name, ())


def test_modules_stay_small() -> None:
    """A module that needs scrolling for minutes is two modules."""
    lines = {module_name(path): path.read_text().count("\n") for path in MODULES}
    large = {name: count for name, count in lines.items() if count > MAX_LINES}
    assert not large, f"at most {MAX_LINES} lines: move a part to a module of its own"
