"""The units in deploy/systemd: valid, closed, and at work under a systemd that is the first process of a machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FIXTURES
from tests.operations.booted import Machine, why_not

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
# systemd's own measure: 0 for a service that can do nothing, 10 for one that may do everything.
_MOST_EXPOSED = 2.5
pytestmark = pytest.mark.process


def units() -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(UNITS.iterdir())}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_units_are_valid_and_closed(tmp_path: Path) -> None:
    for name, text in units().items():
        (tmp_path / name).write_text(re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", text))
    paths = [str(tmp_path / name) for name in units()]
    checked = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False, timeout=120
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(tmp_path / "corral.service")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    match = re.search(r"Overall exposure level for corral\.service: ([0-9.]+)", judged.stdout)
    assert match, judged.stdout + judged.stderr
    assert float(match[1]) <= _MOST_EXPOSED, judged.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if reason := why_not():
        pytest.skip(reason)
    try:
        found = Machine(tmp_path)
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"overlays cannot be mounted here: {exc.stderr.decode().strip()}")
    yield found
    found.close()


_SERVICE = """
mkdir -p /etc/corral
echo '[aliases]
first = "say"' > /etc/corral/config.toml
systemctl start corral.service; echo "start: $?"
for _ in $(seq 300); do curl -sf -m 60 http://127.0.0.1:11434/readyz && break; sleep 0.2; done; echo
export HOME=/root
echo "FROM FIXTURES/say.gguf" | /opt/corral/bin/corral create say -f - > /dev/null; echo "create: $?"
/opt/corral/bin/corral run first x > /tmp/answer; echo "run: $? $(test -s /tmp/answer && echo answered)"
echo '[aliases]
second = "say"' > /etc/corral/config.toml
systemctl reload corral.service; echo "reload: $?"
for _ in $(seq 100); do /opt/corral/bin/corral show second > /dev/null 2>&1 && break; sleep 0.2; done
/opt/corral/bin/corral show second > /dev/null; echo "second: $?"
systemctl show corral.service -p Result -p NRestarts -p User
stat -c '%a %U' /var/lib/private/corral
main=$(systemctl show corral.service -p MainPID --value)
grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/$main/status
systemctl stop corral.service; echo "stop: $?"
systemctl show corral.service -p Result -p ExecMainStatus
mkdir -p /etc/systemd/system/corral.service.d
echo '[Service]
WatchdogSec=2
TimeoutAbortSec=1' > /etc/systemd/system/corral.service.d/watchdog.conf
systemctl daemon-reload
systemctl start corral.service
kill -STOP $(systemctl show corral.service -p MainPID --value)
for _ in $(seq 300); do
    test "$(systemctl show corral.service -p NRestarts --value)" != 0 &&
    test "$(systemctl is-active corral.service)" = active && break; sleep 0.2
done
echo "stuck: restarts=$(systemctl show corral.service -p NRestarts --value) $(systemctl is-active corral.service)"
curl -s -m 600 -o /dev/null -w 'after: %{http_code}\\n' http://127.0.0.1:11434/api/tags
"""


@pytest.mark.slow
def test_the_service(machine: Machine) -> None:
    """Starts when it listens, runs a model in there, reloads, stops well, and is restarted when it is stuck."""
    output = machine.run(units(), _SERVICE.replace("FIXTURES", str(FIXTURES)))
    lines = output.splitlines()
    assert "start: 0" in lines, output
    ready = json.loads(next(line for line in lines if line.startswith("{")))
    assert ready == {"status": "ready", "reasons": []}
    for line in ("create: 0", "run: 0 answered", "reload: 0", "second: 0", "stop: 0", "after: 200"):
        assert line in lines, output
    assert lines.count("Result=success") == 2 and "ExecMainStatus=0" in lines, output
    assert "NRestarts=0" in lines and "User=corral" in lines
    assert "700 corral" in lines, output
    assert "CapEff:\t0000000000000000" in lines and "NoNewPrivs:\t1" in lines and "Seccomp:\t2" in lines
    assert re.search(r"stuck: restarts=[1-9][0-9]* active", output), output


_SOCKET = """
systemctl start corral.socket; echo "socket: $?"
echo "before: $(systemctl is-active corral.service)"
curl -s -m 600 -o /dev/null -w 'tcp: %{http_code}\\n' http://127.0.0.1:11434/api/tags
curl -s -m 600 -o /dev/null -w 'unix: %{http_code}\\n' --unix-socket /run/corral.sock http://localhost/api/tags
stat -c 'mode: %a' /run/corral.sock
first=$(systemctl show corral.service -p MainPID --value)
for n in $(seq 40); do
    curl -s -m 600 -o /dev/null -w '%{http_code} %{errormsg}\\n' --retry 0 http://127.0.0.1:11434/api/tags; sleep 0.05
done > /tmp/codes &
sleep 0.3
systemctl restart corral.service; echo "restart: $?"
wait
echo "codes: $(sort /tmp/codes | uniq -c | xargs)"
test "$first" != "$(systemctl show corral.service -p MainPID --value)" && echo "another process"
"""


@pytest.mark.slow
def test_the_socket(machine: Machine) -> None:
    """The first connection starts the service, and no connection is refused while it restarts."""
    lines = machine.run(units(), _SOCKET).splitlines()
    for line in ("socket: 0", "before: inactive", "tcp: 200", "unix: 200", "mode: 660", "restart: 0"):
        assert line in lines, "\n".join(lines)
    assert "codes: 40 200" in [line.strip() for line in lines] and "another process" in lines, "\n".join(
        lines
    )
