"""What has to agree before a release, and lists that are kept by hand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import corral
from scripts.release import problems_of, version_of

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHANGELOG = "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-01-02\n\n- All.\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that can be released as 1.2.3."""
    package = tmp_path / "src" / "corral"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Corral."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "corral"\ndynamic = ["version"]\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_a_release_in_order(project: Path) -> None:
    assert version_of(project) == "1.2.3"
    assert problems_of(project) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- More.\n", "has entries under"),
        ("CHANGELOG.md", "## Unreleased\n", "", "the first section"),
        ("CHANGELOG.md", "## 1.2.3 - 2026-01-02", "## 1.2.3", "has no section"),
        ("CHANGELOG.md", "## 1.2.3", "## 1.2.4", "has no section"),
        (
            "CHANGELOG.md",
            "## 1.2.3",
            "## 1.2.4 - 2026-01-03\n\n## 1.2.3",
            "the newest version in CHANGELOG.md is 1.2.4",
        ),
        ("pyproject.toml", 'dynamic = ["version"]', 'version = "1.2.3"', "has to read the version"),
        ("src/corral/__init__.py", "1.2.3", "1.2", "is not a version like"),
        ("src/corral/__init__.py", "__version__", "version", "has to set __version__ once"),
    ],
)
def test_what_stops_a_release(project: Path, file: str, old: str, new: str, problem: str) -> None:
    path = project / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert any(problem in found for found in problems_of(project)), problems_of(project)


def test_this_version_is_in_the_changelog() -> None:
    assert version_of(ROOT) == corral.__version__
    assert f"\n## {corral.__version__} - " in (ROOT / "CHANGELOG.md").read_text()


def _requirements() -> list[str]:
    extras = PROJECT["optional-dependencies"].values()
    return [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]


def test_every_dependency_has_an_upper_bound() -> None:
    unbounded = [line for line in _requirements() if "<" not in line and "==" not in line]
    assert unbounded == []


def test_the_lock_is_of_these_requirements() -> None:
    """`uv lock --default-index https://pypi.org/simple` makes it so; it names no other host."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    (own,) = [package for package in lock["package"] if package["name"] == "corral"]
    locked = {(entry["name"], entry.get("specifier", "")) for entry in own["metadata"]["requires-dist"]}
    wanted = set()
    for line in _requirements():
        name, _, specifier = re.split(r"(\[[^\]]*\])?(?=[<>=])", line, maxsplit=1)
        wanted.add((name, ",".join(sorted(specifier.split(","), key=lambda part: part[0] != ">"))))
    assert {(name, frozenset(specifier.split(","))) for name, specifier in locked} == {
        (name, frozenset(specifier.split(","))) for name, specifier in wanted
    }
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = re.findall(r"\]\(([0-9][^)]+)\)", (folder / "README.md").read_text())
    assert index == sorted(path.name for path in folder.glob("[0-9]*.md"))
