#!/usr/bin/env python3
"""Check that a version can be released, build it, and tag it.

    scripts/release.py         checks, and builds sdist and wheel into dist/ in a throw-away environment
    scripts/release.py --tag   the same, then makes the tag; pushing it and uploading dist/ is left to you

The version stands in src/corral/__init__.py alone. CHANGELOG.md has a section for it, with a date, and nothing under
"Unreleased" above it. CONTRIBUTING.md has the whole list of steps.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.M)
_HEADING = re.compile(r"^## (.+)$", re.M)
_RELEASED = re.compile(r"\[?([0-9][^\]\s]*)\]? - \d{4}-\d{2}-\d{2}")


def version_of(root: Path) -> str:
    """The version that the package has.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = _VERSION.findall((root / "src" / "corral" / "__init__.py").read_text())
    if len(found) != 1:
        raise ValueError("src/corral/__init__.py has to set __version__ once")
    version: str = found[0]
    return version


def problems_of(root: Path) -> list[str]:
    """What speaks against a release of the files in a folder; the state of git is not looked at."""
    try:
        version = version_of(root)
    except (OSError, ValueError) as exc:
        return [str(exc)]
    problems = []
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        problems.append(f"{version} is not a version like 1.2.3 or 1.2.3rc1")
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    if "version" in project or "version" not in project.get("dynamic", ()):
        problems.append("pyproject.toml has to read the version from the package (dynamic)")
    return problems + _changelog_problems((root / "CHANGELOG.md").read_text(), version)


def _changelog_problems(text: str, version: str) -> list[str]:
    parts = _HEADING.split(text)
    sections = list(zip(parts[1::2], parts[2::2], strict=True))
    problems = []
    if not sections or sections[0][0] != "Unreleased":
        problems.append('the first section of CHANGELOG.md has to be "Unreleased"')
    elif sections[0][1].strip():
        problems.append(f'CHANGELOG.md has entries under "Unreleased": move them to a section for {version}')
    released = [match[1] for title, _ in sections if (match := _RELEASED.fullmatch(title))]
    if version not in released:
        problems.append(f'CHANGELOG.md has no section "## {version} - YYYY-MM-DD"')
    elif released[0] != version:
        problems.append(f"the newest version in CHANGELOG.md is {released[0]}, the package has {version}")
    return problems


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def git_problems(version: str) -> list[str]:
    """Changes that are not committed, and a tag that exists already."""
    problems = []
    if _git("status", "--porcelain").strip():
        problems.append("there are changes that are not committed")
    if _git("tag", "--list", f"v{version}").strip():
        problems.append(f"the tag v{version} exists already")
    return problems


def build(destination: Path) -> list[Path]:
    """Make sdist and wheel, with build and hatchling in an environment that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="corral-release-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "build>=1.2,<2"], check=True)
        subprocess.run([python, "-m", "build", "--outdir", destination, ROOT], check=True)
    return sorted(destination.iterdir())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tag", action="store_true", help="make the tag; without it nothing but dist/ changes"
    )
    arguments = parser.parse_args()
    problems = problems_of(ROOT)
    version = version_of(ROOT) if not problems else ""
    problems += git_problems(version) if version else []
    for problem in problems:
        print(f"release: {problem}", file=sys.stderr)
    if problems:
        return 1
    destination = ROOT / "dist" / version
    destination.mkdir(parents=True, exist_ok=True)
    for path in build(destination):
        print(path.relative_to(ROOT))
    if not arguments.tag:
        print(f"dry run: scripts/release.py --tag makes the tag v{version}")
        return 0
    _git("tag", "--annotate", f"v{version}", "--message", f"Corral {version}")
    print(f"tagged: git push origin v{version}, then upload the files in {destination.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
