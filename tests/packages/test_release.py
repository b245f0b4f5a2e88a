"""What has to agree before a release, and lists that are kept by hand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import corral
from scripts.releasing import changelog
from scripts.releasing.versions import order, prepare, problems_of, version_of

ROOT = Path(__file__).parents[2]
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


def test_preparing_a_release(project: Path) -> None:
    """The version and the changelog change together, and the result can be released."""
    path = project / "CHANGELOG.md"
    path.write_text(path.read_text().replace("## Unreleased\n", "## Unreleased\n\n### Added\n\n- More.\n"))
    prepare(project, "1.3.0", "2026-02-03")
    assert version_of(project) == "1.3.0"
    assert problems_of(project) == []
    assert changelog.notes(path.read_text(), "1.3.0") == "### Added\n\n- More.\n"
    assert changelog.notes(path.read_text(), "1.2.3") == "- All.\n"
    assert changelog.released(project) == ["1.3.0", "1.2.3"]


@pytest.mark.parametrize(
    ("version", "date", "entries", "problem"),
    [
        ("1.2.3", "2026-02-03", "- More.", "is not newer than 1.2.3"),
        ("1.2.2", "2026-02-03", "- More.", "is not newer than 1.2.3"),
        ("1.2.3rc1", "2026-02-03", "- More.", "is not newer than 1.2.3"),
        ("1.3", "2026-02-03", "- More.", "is not a version like"),
        ("v1.3.0", "2026-02-03", "- More.", "is not a version like"),
        ("1.3.0", "3.2.2026", "- More.", "is not a date like"),
        ("1.3.0", "2026-13-01", "- More.", "is not a date like"),
        ("1.3.0", "2026-02-03", "", 'nothing under "Unreleased"'),
    ],
)
def test_what_cannot_be_prepared(project: Path, version: str, date: str, entries: str, problem: str) -> None:
    path = project / "CHANGELOG.md"
    path.write_text(path.read_text().replace("## Unreleased\n", f"## Unreleased\n\n{entries}\n"))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=problem):
        prepare(project, version, date)
    assert path.read_bytes() == before and version_of(project) == "1.2.3"


def test_versions_are_ordered() -> None:
    ascending = ["0.9.9", "1.0.0a1", "1.0.0b2", "1.0.0rc1", "1.0.0rc2", "1.0.0", "1.0.1", "1.10.0"]
    by_text = sorted(ascending)
    assert by_text != ascending and sorted(by_text, key=order) == ascending


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
