"""The package imports one way: a module may import from parts above it in `LAYERS`, never below."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "corral"
LAYERS = (
    "assets",
    "errors",
    "types",
    "goquote",
    "toolschema",
    "names",
    "digest",
    "gotime",
    "gowire",
    "hostaddress",
    "rate",
    "logs",
    "loopguard",
    "listening",
    "supervise",
    "lifetime",
    "childenv",
    "apiversion",
    "memory",
    "bounded",
    "settingvalues",
    "config",
    "devices",
    "workers",
    "engines",
    "gguf",
    "modelfile",
    "quantize",
    "translate",
    "convert",
    "gotemplate",
    "grammar",
    "parsers",
    "prompt",
    "store",
    "registry",
    "runner",
    "scheduler",
    "create",
    "service",
    "web",
    "api",
    "server",
    "cli",
    "demo",
)
MAX_LINES = 500

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, at_load_only: bool) -> set[str]:
    """Names of corral modules that a file imports (with `at_load_only`: when it is itself imported)."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if at_load_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names if alias.name.startswith("corral"))
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                if child.module and child.module.split(".")[0] == "corral":
                    found.update(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text()))
    known = {module_name(module) for module in MODULES}
    return {name if name in known else name.rpartition(".")[0] for name in found}


def layer_of(name: str) -> int:
    part = name.split(".")[1] if "." in name else ""
    assert part == "" or part in LAYERS, f"{name} has no place in LAYERS"
    return LAYERS.index(part) if part else -1


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_only_from_layers_above(path: Path) -> None:
    """No module imports from a layer below its own, not even inside a function."""
    mine = layer_of(module_name(path))
    if mine < 0:
        mine = 0
    if module_name(path) == "corral.cli.main":
        return  # the command table loads what a command needs
    below = {name for name in imports_of(path, at_load_only=False) if layer_of(name) > mine}
    assert not below


def test_no_import_cycles() -> None:
    """Following imports never leads back to where it started."""
    graph = {module_name(path): imports_of(path, at_load_only=True) for path in MODULES}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in done:
            return
        for other in graph.get(name, ()):
            if other != name:
                walk(other, (*trail, name))
        done.add(name)

    for name in graph:
        walk(name, ())


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_stay_small(path: Path) -> None:
    """A module that needs scrolling for minutes is two modules."""
    assert path.read_text().count("\n") <= MAX_LINES
