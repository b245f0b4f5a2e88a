"""Checksums of the files of a release, and a signature of them with an SSH key."""

from __future__ import annotations

import subprocess
from pathlib import Path

from scripts.releasing.artifacts import digest

SUMS = "SHA256SUMS"
# What a signature is for: one for another purpose, such as of a commit, does not count.
NAMESPACE = "corral-release"


def write_sums(folder: Path) -> Path:
    """`sha256sum --check SHA256SUMS` reads it."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(SUMS))
    sums = folder / SUMS
    sums.write_text("".join(f"{digest(path)}  {path.name}\n" for path in files))
    return sums


def sign(sums: Path, key: Path) -> Path:
    """Sign the checksums; ssh-keygen asks for the passphrase, or the agent.

    Raises:
        subprocess.CalledProcessError: it did not.
    """
    signature = sums.with_name(f"{sums.name}.sig")
    signature.unlink(missing_ok=True)
    command = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(key), str(sums)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return signature
