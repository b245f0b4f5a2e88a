"""CHANGELOG.md, in the form of Keep a Changelog: "Unreleased", then a section with a date for each version."""

from __future__ import annotations

import re
from pathlib import Path

_HEADING = re.compile(r"^## (.+)$", re.M)
_RELEASED = re.compile(r"\[?([0-9][^\]\s]*)\]? - (\d{4}-\d{2}-\d{2})")
_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


def _sections(text: str) -> list[tuple[str, str]]:
    parts = _HEADING.split(text)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def _versions(text: str) -> list[str]:
    return [match[1] for title, _ in _sections(text) if (match := _RELEASED.fullmatch(title))]


def released(root: Path) -> list[str]:
    """The versions that have a section with a date, the newest first."""
    return _versions((root / "CHANGELOG.md").read_text())


def problems(text: str, version: str) -> list[str]:
    """What in the changelog speaks against releasing a version."""
    sections = _sections(text)
    found = []
    if not sections or sections[0][0] != "Unreleased":
        found.append('the first section of CHANGELOG.md has to be "Unreleased"')
    elif sections[0][1].strip():
        found.append(f'CHANGELOG.md has entries under "Unreleased": move them to a section for {version}')
    versions = _versions(text)
    if version not in versions:
        found.append(f'CHANGELOG.md has no section "## {version} - YYYY-MM-DD"')
    elif versions[0] != version:
        found.append(f"the newest version in CHANGELOG.md is {versions[0]}, the package has {version}")
    return found


def with_release(text: str, version: str, date: str) -> str:
    """The changelog with what was under "Unreleased" in a section for a version.

    Raises:
        ValueError: there is nothing under "Unreleased", the version has a section, or the date is none.
    """
    sections = _sections(text)
    if not sections or sections[0][0] != "Unreleased":
        raise ValueError('the first section of CHANGELOG.md has to be "Unreleased"')
    if not sections[0][1].strip():
        raise ValueError('CHANGELOG.md has nothing under "Unreleased"')
    if version in _versions(text):
        raise ValueError(f"CHANGELOG.md has a section for {version} already")
    if not _DATE.fullmatch(date):
        raise ValueError(f"{date} is not a date like 2026-01-31")
    return text.replace("## Unreleased\n", f"## Unreleased\n\n## {version} - {date}\n", 1)


def notes(text: str, version: str) -> str:
    """What the changelog says about a version.

    Raises:
        ValueError: it has no section.
    """
    for title, body in _sections(text):
        match = _RELEASED.fullmatch(title)
        if match and match[1] == version:
            return body.strip() + "\n"
    raise ValueError(f"CHANGELOG.md has no section for {version}")


def dated(text: str) -> list[tuple[str, str, str]]:
    """Version, date and text of every release, the newest first."""
    return [
        (match[1], match[2], body.strip())
        for title, body in _sections(text)
        if (match := _RELEASED.fullmatch(title))
    ]
