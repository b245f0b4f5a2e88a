"""What a build of the engine for this CPU brings over the wheel: reading prompts, writing, four streams at a time.

    python -m bench.bench_engines MODEL.gguf [--repeat 5]

Needs a native build (`corral engine build`). Both engines are loaded at once and take turns, whose order changes; the
figures are medians, and the ratio is the median of the ratios of each pair of turns.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from bench.peers import BareEngine, interleaved
from corral.devices import read_cpu
from corral.homefolder import home_folder
from corral.runner.engines.choice import find_engine
from corral.runner.engines.folders import NATIVE
from corral.runner.interface import EngineChoice, RunnerSpec

_CTX = 2048
_WORDS = (
    "the quick brown fox jumps over a lazy dog and rests in the shade of an old tree while it rains ".split()
)
_STREAMS = 4
_WRITTEN = 48


def _prompt(serial: int, words: int) -> str:
    """A text that no cache has seen: it differs from its first word on."""
    return f"{serial} " + " ".join(_WORDS[(i * 7 + serial) % len(_WORDS)] for i in range(words))


def _read(engine: BareEngine, serial: int) -> float:
    """Seconds to the first token of a long prompt."""
    return engine.generate(_prompt(serial, 120), {"num_predict": 1, "temperature": 0.0}).first_s


def _write(engine: BareEngine, serial: int) -> float:
    """Seconds a token of a reply."""
    timed = engine.generate(_prompt(serial, 8), {"num_predict": _WRITTEN, "temperature": 0.0})
    return 1 / timed.decode_tokens_per_s


def _write_many(engine: BareEngine, serial: int) -> float:
    """Seconds for the replies of four streams at a time."""
    options = {"num_predict": _WRITTEN, "temperature": 0.0}
    started_s = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(_STREAMS) as pool:
        list(pool.map(lambda n: engine.generate(_prompt(serial * 10 + n, 8), options), range(_STREAMS)))
    return time.perf_counter() - started_s


def compare(
    name: str, measure: Callable[[BareEngine, int], float], wheel: BareEngine, native: BareEngine, repeat: int
) -> None:
    taken: dict[bool, list[float]] = {True: [], False: []}
    for i, is_native in interleaved(repeat + 1):
        taken[is_native].append(measure(native if is_native else wheel, 1000 * (i + 1) + is_native))
    pairs = list(zip(taken[False], taken[True], strict=True))[1:]  # the first pair warms up
    ratio = statistics.median(old / new for old, new in pairs)
    old, new = (statistics.median(values) * 1000 for values in zip(*pairs, strict=True))
    print(f"{name}: wheel {old:.1f} ms, native {new:.1f} ms, {ratio:.2f} times as fast", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    threads = read_cpu().physical_count
    path = arguments.model
    spec = RunnerSpec(path, str(path), num_ctx=_CTX, num_parallel=_STREAMS, num_thread=threads)
    found = find_engine(NATIVE, home_folder())
    wheel = BareEngine(spec)
    native = BareEngine(spec, EngineChoice(package_folder=found.package_folder))
    try:
        compare("first token of a long prompt", _read, wheel, native, arguments.repeat)
        compare("a token of a reply", _write, wheel, native, arguments.repeat)
        compare("four replies at a time", _write_many, wheel, native, arguments.repeat)
    finally:
        wheel.close()
        native.close()


if __name__ == "__main__":
    main()
