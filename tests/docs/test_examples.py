"""Every example of the README and the docs runs, against a real server with corral-tiny."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.site.blocks import RUN, Block, programs
from tests.clients.test_node import node as _node  # the program, with the packages of the lock file
from tests.docs import golang
from tests.docs.world import Interpreter, World
from tests.extras import need

need("openai", "ollama", "anthropic", "httpx")
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
_PATIENCE_S = 300
node = _node


@pytest.fixture(scope="module")
def world(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("docs"))
    yield world
    world.close()


def named(blocks: list[Block]) -> list[object]:
    return [pytest.param(block, id=block.name) for block in blocks]


def typed(block: Block) -> str:
    """What a block has a shell do: of a terminal's text, what stands after the prompts."""
    if RUN[block.language] != "console":
        return block.text
    return "".join(line.removeprefix("$ ") for line in block.text.splitlines(True) if line.startswith("$ "))


@pytest.mark.parametrize("block", named([*programs("shell"), *programs("console")]))
def test_shell(world: World, block: Block) -> None:
    folder = world.page_folder(block)
    text = world.prepare(typed(block))
    assert text.strip(), "it does nothing"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text],
        cwd=folder,
        env={**world.environment(), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}"


@pytest.fixture(scope="module")
def python(world: World) -> Iterator[Interpreter]:
    run = Interpreter([sys.executable, str(HERE / "run_python.py")], world.folder, world.environment())
    yield run
    run.close()


@pytest.mark.parametrize("block", named(programs("python")))
def test_python(world: World, python: Interpreter, block: Block) -> None:
    file = world.folder / "example.py"
    file.write_text(world.prepare(block.text))
    answer = python.run(file, world.page_folder(block))
    assert not answer["error"], answer["error"]


@pytest.fixture(scope="module")
def javascript(world: World, node: str) -> Iterator[Interpreter]:
    (world.folder / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node" / "node_modules")
    run = Interpreter([node, str(HERE / "run_node.mjs")], world.folder, world.environment())
    yield run
    run.close()


@pytest.mark.parametrize("block", named(programs("node")))
def test_javascript(world: World, javascript: Interpreter, block: Block) -> None:
    file = world.folder / f"{block.page.stem}-{block.line}.mjs"
    file.write_text(world.prepare(block.text))
    answer = javascript.run(file, world.page_folder(block))
    assert not answer["error"], answer["error"]
    assert answer["output"], "it shows nothing"


GO = {f"example{number}": block for number, block in enumerate(programs("go"))}


@pytest.fixture(scope="module")
def go_program(world: World) -> Path:
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")
    with_marks = {name: block.text.replace("http://localhost:11434", "HERE") for name, block in GO.items()}
    here = world.server.base
    return golang.build(
        {name: text.replace("HERE", here) for name, text in with_marks.items()}, world.folder / "go"
    )


@pytest.mark.parametrize("name", GO, ids=[block.name for block in GO.values()])
def test_go(world: World, go_program: Path, name: str) -> None:
    block = GO[name]
    replaced = json.dumps(world.replaced(block.text))
    done = subprocess.run(
        [go_program, name],
        cwd=world.page_folder(block),
        env={**world.environment(), "CORRAL_DOCS_REPLACED": replaced},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or done.stderr, "it shows nothing"
