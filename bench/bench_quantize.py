"""Quantising speed and memory against llama-quantize, on the same file and threads, runs taking turns.

    python bench/bench_quantize.py --tool /path/to/llama-quantize [--types Q8_0 Q4_K_M] [--threads 2] [--rounds 3]

The binary comes from the engine's own source, see scripts/record_quantize.py. Each run is a process of its own, so
that its peak memory (resident, mapped files included) is its own. The outputs are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_OURS = "import sys; from pathlib import Path; from corral.weights.quantize import quantize_file; quantize_file(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], n_threads=int(sys.argv[4]))"  # noqa: E501


def run(command: list[str]) -> tuple[float, int]:
    """Seconds and peak resident bytes of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} failed")
    return elapsed, usage.ru_maxrss * 1024


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="Quantising against llama-quantize.")
    parser.add_argument("--tool", type=Path, required=True)
    parser.add_argument("--types", nargs="+", default=["Q8_0", "Q4_0", "Q4_K_M", "Q6_K"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "model.gguf"
        # By a process of its own: a child's peak counts what its parent had when it was forked.
        script = Path(__file__).parent.parent / "scripts" / "make_random_model.py"
        run([sys.executable, str(script), str(source), "--layers", str(options.layers), "--type", "F16"])
        size = source.stat().st_size
        print(f"source {size / 1e6:.0f} MB of F16, largest tensor {32_000 * 1536 * 2 / 1e6:.0f} MB")
        print(f"{options.threads} threads, {options.rounds} rounds")
        print(
            "| type | llama-quantize | ours | speed ratio | peak RSS theirs | ours |\n|---|---|---|---|---|---|"
        )
        for file_type in options.types:
            theirs_out, ours_out = folder / "theirs.gguf", folder / "ours.gguf"
            theirs = [str(options.tool), str(source), str(theirs_out), file_type, str(options.threads)]
            ours = [sys.executable, "-c", _OURS, str(source), str(ours_out), file_type, str(options.threads)]
            pairs = [(run(theirs), run(ours)) for _ in range(options.rounds)]
            digests = {sha256(path) for path in (theirs_out, ours_out)}
            assert len(digests) == 1, f"{file_type}: the files differ"
            ratio = statistics.median(t[0] / o[0] for t, o in pairs)
            seconds = [statistics.median(pair[side][0] for pair in pairs) for side in (0, 1)]
            peaks = [max(pair[side][1] for pair in pairs) / 1e6 for side in (0, 1)]
            print(
                f"| {file_type} | {seconds[0]:.2f} s | {seconds[1]:.2f} s | {ratio:.2f} "
                f"| {peaks[0]:.0f} MB | {peaks[1]:.0f} MB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
