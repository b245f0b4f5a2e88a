"""Prepare, check, build, sign and tag a release (docs/release.md).

scripts/release prepare 0.2.0   write the version, and move "Unreleased" to a section of CHANGELOG.md; commit it then
scripts/release                 dry run: check, and build everything into dist/VERSION; git is not changed
scripts/release --tag           the same, and make the tag; pushing it is left to you
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from scripts.packages import deb, homebrew
from scripts.releasing import artifacts, changelog, sbom, sums, versions
from scripts.releasing.tools import Tools, tools

ROOT = Path(__file__).resolve().parents[2]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tag", action="store_true", help="make the tag; signed if --sign is given")
    parser.add_argument("--sign", type=Path, metavar="KEY", help="sign the checksums with this SSH key")
    parser.add_argument(
        "--deb",
        action="append",
        default=[],
        metavar="PYTHON/ARCH",
        help="build a Debian package, like 3.11/amd64 (again for more)",
    )
    steps = parser.add_subparsers(dest="step")
    prepare = steps.add_parser("prepare", help="write a new version into the checkout")
    prepare.add_argument("version")
    prepare.add_argument("--date", default=datetime.now(UTC).date().isoformat())
    return parser.parse_args()


def _prepare(version: str, date: str) -> None:
    versions.prepare(ROOT, version, date)
    homebrew.write(ROOT)
    print(f"prepared {version}: look at the changes, then git commit -am 'release: {version}'")


def _build(version: str, debs: list[str], with_tools: Tools) -> Path:
    """Everything that is published, in `dist/VERSION`."""
    destination = ROOT / "dist" / version
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    epoch = versions.commit_time(ROOT)
    made = artifacts.build_twice(ROOT, destination, epoch, with_tools)
    (wheel,) = (path for path in made if path.suffix == ".whl")
    bill = sbom.bill_of_materials(ROOT, version, epoch, with_tools)
    (destination / f"corral-{version}.cdx.json").write_text(json.dumps(bill, indent=2) + "\n")
    (destination / "corral.rb").write_text(homebrew.formula(ROOT, artifacts.digest(wheel)))
    shutil.copy(ROOT / "packaging" / "install.sh", destination)
    notes = changelog.notes((ROOT / "CHANGELOG.md").read_text(), version)
    (destination / "RELEASE_NOTES.md").write_text(notes)
    for target in debs:
        deb.build(ROOT, wheel, destination, deb.Target.parse(target), epoch, with_tools)
    return destination


def _release(arguments: argparse.Namespace) -> None:
    """Raises ValueError: something speaks against it."""
    problems = versions.problems_of(ROOT)
    version = versions.version_of(ROOT) if not problems else ""
    problems += versions.git_problems(ROOT, version) if version else []
    if problems:
        raise ValueError("\n".join(problems))
    destination = _build(version, arguments.deb, tools())
    checksums = sums.write_sums(destination)
    if arguments.sign:
        sums.sign(checksums, arguments.sign)
    for path in sorted(destination.iterdir()):
        print(path.relative_to(ROOT))
    if not arguments.tag:
        print(f"dry run: scripts/release --tag makes the tag v{version}")
        return
    _tag(version, arguments.sign)
    print(f"tagged: git push origin v{version} starts .github/workflows/release.yml")


def _tag(version: str, key: Path | None) -> None:
    options = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={key.resolve()}"] if key else []
    kind = "--sign" if key else "--annotate"
    versions.git(ROOT, *options, "tag", kind, f"v{version}", "--message", f"Corral {version}")


def main() -> int:
    arguments = _arguments()
    try:
        if arguments.step == "prepare":
            _prepare(arguments.version, arguments.date)
        else:
            _release(arguments)
    except ValueError as exc:
        for line in str(exc).splitlines():
            print(f"release: {line}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as exc:
        print(f"release: {exc}\n{exc.stderr or ''}".strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
