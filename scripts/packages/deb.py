"""The Debian package: Corral and what it needs in /usr/lib/corral, for one Python and one architecture.

    python -m scripts.packages.deb WHEEL FOLDER --target 3.11/amd64

What it needs comes from uv.lock as wheels that are checked against its digests. So a package can be built on a
machine of another architecture, and the same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.packages import debfiles
from scripts.releasing.artifacts import build_environment
from scripts.releasing.tools import Tools, tools
from scripts.releasing.versions import commit_time

_PROCESSORS = {"amd64": "x86_64", "arm64": "aarch64"}
# Of Debian and Ubuntu with these Pythons; every wheel of the lock is for this glibc or an older one.
_PLATFORM = "manylinux_2_28"
_HOME = Path("usr/lib/corral")


@dataclass(frozen=True, slots=True)
class Target:
    """`python` like `3.11`, `arch` as Debian calls it."""

    python: str
    arch: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises ValueError: not of the form 3.11/amd64."""
        python, _, arch = text.partition("/")
        if not re.fullmatch(r"3\.\d\d", python) or arch not in _PROCESSORS:
            raise ValueError(f"{text} is not like 3.11/amd64; architectures: {', '.join(_PROCESSORS)}")
        return cls(python, arch)


def debian_version(version: str, python: str) -> str:
    """How Debian sorts it: candidates before the release, and a newer Python after an older one."""
    tidy = re.sub("(a|b|rc)", "~\\1", version)
    return f"{tidy}-1+py{python}"


def build(root: Path, wheel: Path, destination: Path, target: Target, epoch: int, with_tools: Tools) -> Path:
    """Make the package of a wheel of Corral.

    Raises:
        subprocess.CalledProcessError: a package could not be had, or dpkg-deb refused.
    """
    version = debian_version(wheel.name.split("-")[1], target.python)
    with tempfile.TemporaryDirectory(prefix="corral-deb-") as folder:
        tree = Path(folder) / "tree"
        _install(root, wheel, tree, target, with_tools)
        debfiles.add(root, tree, wheel, target.python, version, epoch)
        debfiles.control(root, tree, version, target.arch, target.python)
        debfiles.settle(tree, epoch)
        made = destination / f"corral_{version}_{target.arch}.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", str(tree), str(made)]
        subprocess.run(command, check=True, env=build_environment(epoch), stdout=subprocess.DEVNULL)
    return made


def _install(root: Path, wheel: Path, tree: Path, target: Target, with_tools: Tools) -> None:
    """A virtual environment in the form that Python makes, but for a Python that need not be on this machine."""
    home = tree / _HOME
    packages = home / "lib" / f"python{target.python}" / "site-packages"
    packages.mkdir(parents=True)
    listed = [str(with_tools.uv), "export", "--frozen", "--offline", "--no-config", "--no-dev", "--quiet"]
    listed += ["--no-emit-project", "--no-header"]
    needed = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout
    requirements = tree.parent / "requirements.txt"
    requirements.write_text(needed + (root / "packaging/deb/pip.txt").read_text())
    options = ["--quiet", "--no-config", "--no-deps", "--link-mode", "copy", "--no-compile-bytecode"]
    options += ["--python-version", target.python, "--target", str(packages), "--only-binary", ":all:"]
    options += ["--python-platform", f"{_PROCESSORS[target.arch]}-{_PLATFORM}"]
    install = [str(with_tools.uv), "pip", "install", *options]
    subprocess.run([*install, "--require-hashes", "--requirement", str(requirements)], check=True)
    subprocess.run([*install, str(wheel)], check=True)
    _tidy(packages)
    (home / "bin").mkdir()
    for name in ("python", "python3", f"python{target.python}"):
        (home / "bin" / name).symlink_to(f"../../../bin/python{target.python}")
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {target.python}\n"
    )
    shutil.copy(root / "packaging/deb/corral", home / "bin" / "corral")


def _tidy(packages: Path) -> None:
    """Leave out what says where it was built, commands of other packages, and their tests."""
    for folder in ("bin", "share"):
        shutil.rmtree(packages / folder, ignore_errors=True)
    for name in ("direct_url.json", "uv_cache.json", "uv_build.json", "REQUESTED", "INSTALLER", "RECORD"):
        for path in packages.glob(f"*.dist-info/{name}"):
            path.unlink()
    (packages / ".lock").unlink(missing_ok=True)
    for path in sorted((packages / "numpy").rglob("tests")):
        shutil.rmtree(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--target", type=Target.parse, action="append", required=True)
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parents[2]
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or commit_time(root))
    for target in arguments.target:
        print(build(root, arguments.wheel, arguments.destination, target, epoch, tools()))


if __name__ == "__main__":
    main()
