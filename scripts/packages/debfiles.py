"""The files of the Debian package beside those of Python: unit, manual page, completions, documentation, control."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from scripts.releasing import changelog

_COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/corral",
    "zsh": "usr/share/zsh/vendor-completions/_corral",
    "fish": "usr/share/fish/vendor_completions.d/corral.fish",
}
_SCRIPTS = ("postinst", "prerm", "postrm")


def unit(root: Path) -> str:
    """deploy/systemd/corral.service for the package: another program, and a lasting user, who owns the models."""
    text = (root / "deploy/systemd/corral.service").read_text()
    head = "# Corral as a service. To change it: systemctl edit corral. Settings: /etc/corral/config.toml.\n"
    text = head + text.partition("\n")[2]
    text = text.replace("/opt/corral/bin/corral", "/usr/bin/corral").replace(
        "DynamicUser=yes\n", "Group=corral\n"
    )
    return text.replace("# A user of its own without a home:", "# A user of its own:")


def add(root: Path, tree: Path, wheel: Path, python: str, version: str, epoch: int) -> None:
    """Write everything that is not Python's into the tree of the package."""
    own = root / "packaging" / "deb"
    _link(tree / "usr/bin/corral", "../lib/corral/bin/corral")
    _write(tree / "usr/lib/systemd/system/corral.service", unit(root))
    socket = (root / "deploy/systemd/corral.socket").read_text()
    _write(
        tree / "usr/lib/systemd/system/corral.socket",
        socket.replace("SocketMode=0660\n", "SocketMode=0660\nSocketGroup=corral\n"),
    )
    _copy(own / "config.toml", tree / "etc/corral/config.toml")
    documentation = tree / "usr/share/doc/corral"
    _copy(own / "README.Debian", documentation / "README.Debian")
    _copy(own / "gpu.conf", documentation / "examples/gpu.conf")
    _write(documentation / "copyright", _copyright(root))
    text = (root / "CHANGELOG.md").read_text()
    _write_packed(documentation / "changelog.Debian.gz", _changelog(text, version, epoch))
    _copy(own / "lintian-overrides", tree / "usr/share/lintian/overrides/corral")
    with zipfile.ZipFile(wheel) as files:
        (manual,) = (name for name in files.namelist() if name.endswith("/share/man/man1/corral.1"))
        _write_packed(tree / "usr/share/man/man1/corral.1.gz", files.read(manual).decode())
    packages = tree / f"usr/lib/corral/lib/python{python}/site-packages"
    for shell, place in _COMPLETIONS.items():
        _write(tree / place, _completion(packages, shell))


def _completion(packages: Path, shell: str) -> str:
    """What `corral completion SHELL` of the packaged version prints. It needs nothing but Python."""
    code = "from corral.cli.completion.scripts import script; import sys; print(script(sys.argv[1]), end='')"
    command = [sys.executable, "-B", "-c", code, shell]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(packages)}, capture_output=True, text=True, check=True
    )
    return done.stdout


def _copyright(root: Path) -> str:
    lines = (root / "LICENSE").read_text().strip().splitlines()
    licence = "\n".join(f" {line}" if line.strip() else " ." for line in lines)
    return (root / "packaging/deb/copyright").read_text().replace("@LICENSE@", licence)


def _changelog(text: str, version: str, epoch: int) -> str:
    newest = email.utils.formatdate(epoch)
    released = changelog.dated(text)
    said = "CHANGELOG.md says what changed."
    line = f"  * {released[0][0]}, {released[0][1]}. {said}" if released else f"  * {said}"
    maintainer = "The Corral maintainers <corral@localhost>"
    return f"corral ({version}) unstable; urgency=medium\n\n{line}\n\n -- {maintainer}  {newest}\n"


def control(root: Path, tree: Path, version: str, arch: str, python: str) -> None:
    """Write dpkg's own folder."""
    own, folder = root / "packaging" / "deb", tree / "DEBIAN"
    size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file()) // 1024 + 1
    values = {"VERSION": version, "ARCH": arch, "SIZE": str(size), "PYTHON": python}
    text = re.sub("@([A-Z]+)@", lambda match: values[match[1]], (own / "control").read_text())
    _write(folder / "control", text)
    _write(folder / "conffiles", "/etc/corral/config.toml\n")
    _copy(own / "templates", folder / "templates")
    for name in _SCRIPTS:
        _copy(own / name, folder / name)
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    lines = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(tree)}\n"
        for path in files
        if folder not in path.parents and not path.is_relative_to(tree / "etc")
    ]
    _write(folder / "md5sums", "".join(lines))


def settle(tree: Path, epoch: int) -> None:
    """Give everything the permissions that it has for everybody, and one time."""
    programs = {tree / "usr/lib/corral/bin/corral", *(tree / "DEBIAN" / name for name in _SCRIPTS)}
    for path in sorted([tree, *tree.rglob("*")], reverse=True):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_packed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
