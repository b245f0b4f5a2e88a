"""A release from the first step to the tag, in a clone; and somebody else who builds the same files from that tag."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("CORRAL_TEST_PACKAGES") != "required",
        reason="installs build tools and builds four times: ./dev packages runs it",
    ),
]


def _git(folder: Path, *arguments: str) -> str:
    named = ["-c", "user.name=A Maintainer", "-c", "user.email=a@example.com"]
    return subprocess.run(
        ["git", *named, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def _release(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"GIT_COMMITTER_NAME": "A Maintainer", "GIT_COMMITTER_EMAIL": "a@example.com"}
    return subprocess.run(
        [folder / "scripts" / "release", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )


def test_a_whole_release(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    _git(tmp_path, "clone", "--quiet", "--no-local", str(ROOT), str(clone))
    changelog = clone / "CHANGELOG.md"
    if not changelog.read_text().partition("## Unreleased")[2].partition("\n## ")[0].strip():
        changelog.write_text(changelog.read_text().replace("## Unreleased\n", "## Unreleased\n\n- New.\n", 1))
        _git(clone, "commit", "--quiet", "--all", "--message", "changelog: something new")
    refused = _release(clone)
    assert refused.returncode == 1 and 'has entries under "Unreleased"' in refused.stderr

    prepared = _release(clone, "prepare", "9.0.0")
    assert prepared.returncode == 0, prepared.stderr
    changed = _git(clone, "status", "--porcelain").split()[1::2]
    assert changed == ["CHANGELOG.md", "packaging/homebrew/corral.rb", "src/corral/__init__.py"]
    dirty = _release(clone)
    assert dirty.returncode == 1 and "changes that are not committed" in dirty.stderr
    _git(clone, "commit", "--quiet", "--all", "--message", "release: 9.0.0")

    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    dry = _release(clone, "--sign", str(key))
    assert dry.returncode == 0 and "dry run" in dry.stdout, dry.stderr
    assert _git(clone, "tag", "--list", "v9.0.0") == ""
    made = clone / "dist" / "9.0.0"
    assert sorted(path.name for path in made.iterdir()) == [
        "RELEASE_NOTES.md",
        "SHA256SUMS",
        "SHA256SUMS.sig",
        "corral-9.0.0-py3-none-any.whl",
        "corral-9.0.0.cdx.json",
        "corral-9.0.0.tar.gz",
        "corral.rb",
        "install.sh",
    ]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=made, check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"maintainers {key.with_suffix('.pub').read_text()}")
    verify = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "maintainers", "-n", "corral-release"]
    verify += ["-s", str(made / "SHA256SUMS.sig")]
    assert (
        subprocess.run(verify, input=(made / "SHA256SUMS").read_bytes(), capture_output=True).returncode == 0
    )
    assert subprocess.run(verify, input=b"other", capture_output=True).returncode != 0
    bill = json.loads((made / "corral-9.0.0.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["version"] == "9.0.0"
    names = {component["name"] for component in bill["components"]}
    assert {"xllamacpp", "orjson", "cffi"} <= names and not {"pytest", "ray"} & names
    wheel = next(line for line in (made / "SHA256SUMS").read_text().splitlines() if line.endswith(".whl"))
    assert f'sha256 "{wheel.split()[0]}"' in (made / "corral.rb").read_text()

    tagged = _release(clone, "--tag")
    assert tagged.returncode == 0 and _git(clone, "tag", "--list", "v9.0.0").strip() == "v9.0.0", (
        tagged.stderr
    )
    again = _release(clone, "--tag")
    assert again.returncode == 1 and "the tag v9.0.0 exists already" in again.stderr

    other = tmp_path / "somebody" / "elses"
    other.parent.mkdir()
    _git(tmp_path, "clone", "--quiet", "--no-local", "--branch", "v9.0.0", str(clone), str(other))
    _git(other, "tag", "--delete", "v9.0.0")
    assert _release(other).returncode == 0
    assert (other / "dist/9.0.0/SHA256SUMS").read_text() == (made / "SHA256SUMS").read_text()
    shutil.rmtree(clone)
