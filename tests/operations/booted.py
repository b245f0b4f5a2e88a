"""A machine with systemd as its first process, for as long as a test needs one: a container on a view of this system.

What it changes is in memory and goes with it. It needs root, `systemd-nspawn` and overlay mounts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import corral

_TARGET = """
[Unit]
Requires=basic.target dbus.socket
Wants=probe.service
"""
_PROBE = """
[Unit]
After=basic.target dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/bash /results/probe.sh
ExecStopPost=/bin/systemctl poweroff --no-block
"""
_TIMEOUT_S = 420


def why_not() -> str:
    """Why no such machine can be made here; empty if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    for program in ("systemd-nspawn", "mount"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    if any(Path(place).resolve().is_relative_to("/tmp") for place in (sys.prefix, corral.__file__)):
        return "the service has a /tmp of its own and cannot see this checkout"
    return ""


class Machine:
    """`run` boots it with files of `/etc/systemd/system` and a script, and gives what the script printed."""

    def __init__(self, folder: Path) -> None:
        self._layers, self._results = folder / "layers", folder / "results"
        self._root = self._layers / "root"
        self._results.mkdir(parents=True)
        self._layers.mkdir()
        _mount("-t", "tmpfs", "none", str(self._layers))
        for name in ("upper", "work", "root"):
            (self._layers / name).mkdir()
        options = f"lowerdir=/,upperdir={self._layers / 'upper'},workdir={self._layers / 'work'}"
        _mount("-t", "overlay", "overlay", "-o", options, str(self._root))
        self._install()

    def close(self) -> None:
        for place in (self._root, self._layers):
            subprocess.run(["umount", "-l", str(place)], check=False)

    def _install(self) -> None:
        """`/opt/corral`: this environment of Python, where a service finds it that sees no home folders."""
        prefix = self._root / "opt" / "corral"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "lib").symlink_to(Path(sys.prefix) / "lib")
        (prefix / "pyvenv.cfg").write_text("home = /opt/python/bin\ninclude-system-site-packages = false\n")
        program = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (prefix / "bin" / "python").symlink_to(f"/opt/python/bin/{program}")
        (prefix / "bin" / "corral").write_text(
            "#!/opt/corral/bin/python\nimport sys\nfrom corral.cli.main import main\nsys.exit(main())\n"
        )
        (prefix / "bin" / "corral").chmod(0o755)
        (self._root / "etc" / "ld.so.conf.d" / "00-python.conf").write_text("/opt/python/lib\n")

    def run(self, units: dict[str, str], script: str) -> str:
        """Raises AssertionError: the script did not come to its end."""
        folder = self._root / "etc" / "systemd" / "system"
        for name, text in {**units, "probe.service": _PROBE, "probe.target": _TARGET}.items():
            (folder / name).write_text(text)
        (self._results / "probe.sh").write_text(
            f"exec > /results/output 2>&1\nldconfig\n{script}\ntouch /results/done\n"
        )
        package = Path(corral.__file__).parent.parent
        binds = [
            f"--bind-ro={sys.base_prefix}:/opt/python",
            f"--bind-ro={sys.prefix}",
            f"--bind-ro={package}",
            f"--bind={self._results}:/results",
        ]
        command = ["systemd-nspawn", "--quiet", "--directory", str(self._root), "--private-network"]
        command += ["--register=no", "--keep-unit", "--console=pipe", *binds]
        command += ["--boot", "systemd.unit=probe.target", "systemd.log_target=console"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
        output = self._results / "output"
        shown = output.read_text(errors="replace") if output.exists() else ""
        console = (done.stdout + done.stderr).decode("utf-8", "replace")[-4000:]
        assert (self._results / "done").exists(), f"{shown}\n--- console:\n{console}"
        (self._results / "done").unlink()
        return shown


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)
