"""The version of a checkout, and what speaks against releasing it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from scripts.releasing import changelog

_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.M)
_VALID = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def version_file(root: Path) -> Path:
    """The only file in which the version stands."""
    return root / "src" / "corral" / "__init__.py"


def version_of(root: Path) -> str:
    """The version that the package has.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = _VERSION.findall(version_file(root).read_text())
    if len(found) != 1:
        raise ValueError("src/corral/__init__.py has to set __version__ once")
    version: str = found[0]
    return version


def check_version(version: str) -> None:
    """Raises ValueError: not a version like 1.2.3 or 1.2.3rc1."""
    if not _VALID.fullmatch(version):
        raise ValueError(f"{version} is not a version like 1.2.3 or 1.2.3rc1")


def order(version: str) -> tuple[int, ...]:
    """A key by which versions are sorted: 1.2.3rc1 is before 1.2.3."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?", version)
    if match is None:
        raise ValueError(f"{version} is not a version like 1.2.3 or 1.2.3rc1")
    stage = {"a": 0, "b": 1, "rc": 2, None: 3}[match[4]]
    return (int(match[1]), int(match[2]), int(match[3]), stage, int(match[5] or 0))


def prepare(root: Path, version: str, date: str) -> None:
    """Write the version and a section of the changelog; nothing is committed.

    Raises:
        ValueError: the version is not newer, or there is nothing to release.
    """
    check_version(version)
    old = version_of(root)
    if old in changelog.released(root) and order(version) <= order(old):
        raise ValueError(f"{version} is not newer than {old}")
    text = changelog.with_release((root / "CHANGELOG.md").read_text(), version, date)
    file = version_file(root)
    file.write_text(_VERSION.sub(f'__version__ = "{version}"', file.read_text()))
    (root / "CHANGELOG.md").write_text(text)


def problems_of(root: Path) -> list[str]:
    """What speaks against a release of the files in a folder; the state of git is not looked at."""
    try:
        version = version_of(root)
    except (OSError, ValueError) as exc:
        return [str(exc)]
    problems = []
    if not _VALID.fullmatch(version):
        problems.append(f"{version} is not a version like 1.2.3 or 1.2.3rc1")
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    if "version" in project or "version" not in project.get("dynamic", ()):
        problems.append("pyproject.toml has to read the version from the package (dynamic)")
    return problems + changelog.problems((root / "CHANGELOG.md").read_text(), version)


def git(root: Path, *arguments: str) -> str:
    """Raises subprocess.CalledProcessError: git refused."""
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def git_problems(root: Path, version: str) -> list[str]:
    """Changes that are not committed, and a tag that exists already."""
    problems = []
    if git(root, "status", "--porcelain").strip():
        problems.append("there are changes that are not committed")
    if git(root, "tag", "--list", f"v{version}").strip():
        problems.append(f"the tag v{version} exists already")
    return problems


def commit_time(root: Path) -> int:
    """Seconds since 1970 at which the last commit was made: the time that all files of a release have."""
    return int(git(root, "log", "-1", "--format=%ct"))
