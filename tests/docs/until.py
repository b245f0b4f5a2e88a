"""Runs a program that never ends, until it has shown that it works: `python -m tests.docs.until HOW PROGRAM...`.

`listening`: it is a server, on any free port, and writes that it listens; `output`: it writes something.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

_ENDS = (0, 130, -signal.SIGINT)


def main() -> int:
    how, command = sys.argv[1], sys.argv[2:]
    is_server = how == "listening"
    # A job in the background of a shell ignores it, and so would the program.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    environment = dict(os.environ)
    if is_server:
        environment["OLLAMA_HOST"] = _any_port(environment.get("OLLAMA_HOST", ""))
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=None if is_server else subprocess.PIPE,
        stderr=subprocess.PIPE if is_server else None,
    )
    seen = process.stderr if is_server else process.stdout
    assert seen is not None
    for line in seen:
        sys.stdout.buffer.write(line)
        if not is_server or b"listening" in line:
            break
    else:
        return process.wait() or 1
    process.send_signal(signal.SIGTERM if is_server else signal.SIGINT)
    sys.stdout.buffer.write(seen.read())
    status = process.wait()
    return 0 if status in _ENDS else status


def _any_port(host: str) -> str:
    """Where a server of an example listens: at the address that the example says, on a port that nobody has."""
    if not host or "://" in host:
        return "127.0.0.1:0"
    return f"{host.partition(':')[0]}:0"


if __name__ == "__main__":
    raise SystemExit(main())
