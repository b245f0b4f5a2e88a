"""The Debian package's unit, versions and scripts, and the formula: what can be checked without building anything."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from scripts.packages import debfiles, homebrew
from scripts.packages.deb import Target, debian_version
from scripts.packages.lockfile import linux, runtime_packages, wheel

ROOT = Path(__file__).parents[2]
DEB = ROOT / "packaging" / "deb"


def test_the_unit_of_the_package() -> None:
    """The one in deploy/systemd, but for its program and its user."""
    lines = debfiles.unit(ROOT).splitlines()
    assert "ExecStart=/usr/bin/corral serve" in lines and "User=corral" in lines
    assert "DynamicUser=yes" not in lines
    before = (ROOT / "deploy/systemd/corral.service").read_text().splitlines()
    changed = [line for line in lines if line not in before and not line.startswith("#")]
    assert changed == ["ExecStart=/usr/bin/corral serve", "Group=corral"]


@pytest.mark.process
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("has_gpu", [False, True])
def test_the_unit_is_closed(tmp_path: Path, has_gpu: bool) -> None:
    text = debfiles.unit(ROOT).replace("ExecStart=/usr/bin/corral serve", "ExecStart=/bin/true")
    if has_gpu:
        text += (DEB / "gpu.conf").read_text()
    (tmp_path / "corral.service").write_text(text)
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", str(tmp_path / "corral.service")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    match = re.search(r"Overall exposure level for corral\.service: ([0-9.]+)", judged.stdout)
    assert match, judged.stdout + judged.stderr
    assert float(match[1]) <= 2.5, judged.stdout


@pytest.mark.process
@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed")
def test_versions_sort_as_debian_sorts() -> None:
    rising = [
        ("0.9.9", "3.13"),
        ("1.0.0a1", "3.11"),
        ("1.0.0rc1", "3.11"),
        ("1.0.0", "3.11"),
        ("1.0.0", "3.13"),
    ]
    names = [debian_version(version, python) for version, python in [*rising, ("1.0.1", "3.11")]]
    for older, newer in itertools.pairwise(names):
        done = subprocess.run(["dpkg", "--compare-versions", older, "lt", newer], check=False)
        assert done.returncode == 0, (older, newer)


def test_targets() -> None:
    assert Target.parse("3.11/amd64") == Target("3.11", "amd64")
    for wrong in ("3.11", "3.11/x86_64", "3.9/amd64", "2.7/arm64", "", "3.11/amd64/x"):
        with pytest.raises(ValueError, match="is not like"):
            Target.parse(wrong)


def test_removing_deletes_nothing_unasked() -> None:
    """Models are deleted in one place, which needs a yes; the template's answer is no."""
    texts = {name: (DEB / name).read_text() for name in ("postinst", "prerm", "postrm")}
    deletions = [line.strip() for text in texts.values() for line in text.splitlines() if "rm -r" in line]
    assert deletions == [
        "find /usr/lib/corral -type d -name __pycache__ -prune -exec rm -rf {} +",
        "rm -rf --one-file-system /var/lib/corral",
    ]
    assert "if may_delete_data; then\n            rm -rf --one-file-system" in texts["postrm"]
    assert "Default: false" in (DEB / "templates").read_text()


def test_the_configuration_of_the_package_changes_nothing() -> None:
    assert tomllib.loads((DEB / "config.toml").read_text()) == {}


def test_the_formula_is_of_the_lock() -> None:
    """`python -m scripts.packages.homebrew` makes it so."""
    text = (ROOT / "packaging/homebrew/corral.rb").read_text()
    assert text == homebrew.formula(ROOT)
    lock = (ROOT / "uv.lock").read_text()
    resources = re.findall(r'resource "([^"]+)" do\s+url "([^"]+)", using: :nounzip\s+sha256 "([^"]+)"', text)
    assert len(resources) > 30
    for _, url, digest in resources:
        assert f'url = "{url}", hash = "sha256:{digest}"' in lock


def test_what_a_machine_needs() -> None:
    """What the package depends on and what that depends on, and nothing of the extras; the right wheel of each."""
    old, new = linux("x86_64", (3, 11), 28), linux("aarch64", (3, 13), 35)
    names = {package["name"] for package in runtime_packages(ROOT / "uv.lock", old)}
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split("[<>=]", line)[0] for line in direct} <= names
    assert {"markupsafe", "cffi", "pygments"} <= names and not {"pytest", "ray", "torch", "corral"} & names
    for target, python, processor in ((old, "cp311", "x86_64"), (new, "cp313", "aarch64")):
        files = {
            package["name"]: wheel(package, target).url
            for package in runtime_packages(ROOT / "uv.lock", target)
        }
        assert f"-{python}-{python}-" in files["numpy"] and processor in files["numpy"]
        assert f"-cp310-abi3-manylinux2014_{processor}" in files["xllamacpp"]
        assert files["rich"].endswith("-py3-none-any.whl")


@pytest.mark.process
@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is not installed")
def test_the_formula_is_ruby() -> None:
    done = subprocess.run(
        ["ruby", "-wc", ROOT / "packaging/homebrew/corral.rb"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "Syntax OK", "")
