"""Start-up of the command line, as ratios against `python -c pass` run in turn with it.

    python -m bench.bench_cli [ROUNDS]

A server runs meanwhile; bytecode is compiled first, as an installation does. Exits with 1 if an aim is missed.
"""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.peers import Server

PROGRAM = Path(sys.executable).parent / "corral"
PEER = [sys.executable, "-c", "pass"]
# What a command may take, in times of the peer.
AIMS = {"--version": 2.5, "list": 4.0, "ps": 4.0, "--help": 2.5}


def measure(rounds: int, env: dict[str, str]) -> dict[str, list[float]]:
    """Seconds of every command and of the peer, in turn."""
    commands = {"pass": PEER, **{word: [str(PROGRAM), word] for word in AIMS}}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            start_s = time.perf_counter()
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - start_s)
    return times


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    compileall.compile_dir(Path(__file__).parent.parent / "src", quiet=1)
    server = Server()
    try:
        env = {**os.environ, "OLLAMA_HOST": f"127.0.0.1:{server.port}"}
        times = measure(rounds, env)
    finally:
        server.close()
    peer = times.pop("pass")
    print(f"python -c pass: median {statistics.median(peer) * 1000:.1f} ms, best {min(peer) * 1000:.1f} ms")
    is_missed = False
    for name, seconds in times.items():
        # The median of the ratios of neighbours: what else the machine does hits both alike.
        ratio = statistics.median(own / other for own, other in zip(seconds, peer, strict=True))
        is_missed |= ratio > AIMS[name]
        print(
            f"corral {name}: median {statistics.median(seconds) * 1000:.1f} ms, best {min(seconds) * 1000:.1f} ms, "
            f"{ratio:.2f} times the peer (aim {AIMS[name]})"
        )
    return int(is_missed)


if __name__ == "__main__":
    sys.exit(main())
