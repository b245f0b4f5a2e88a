"""Mutate model files and read them: every one is read or refused, in bounded time and memory, and nothing crashes.

Bytes are flipped, cut, repeated and replaced by numbers that break things, mostly where lengths and counts are.

    python scripts/fuzz_gguf.py --count 200000 --seed 1
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

from corral.errors import GGUFError
from corral.weights.gguf import GGUFArray, GGUFFile, check_loadable
from corral.weights.quantize import group_splits

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
# What a reader needs whatever the file: its window, Python's own objects.
MEMORY_CONSTANT_BYTES = 4 << 20
TIME_LIMIT_S = 5.0
_NUMBERS = (
    0,
    1,
    7,
    8,
    9,
    12,
    31,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


def small_file(rng: random.Random) -> bytes:
    """A valid little file of its own: random values of every type, arrays, a few tensors."""
    values = [_text("general.architecture") + struct.pack("<I", 8) + _text("llama")]
    values += [_value(rng, i) for i in range(rng.randrange(6))]
    tensors = rng.randrange(4)
    table = b"".join(
        _text(f"blk.{i}.t") + struct.pack("<IQQIQ", 2, 32, 2, rng.choice((0, 1, 2, 8)), 256 * i)
        for i in range(tensors)
    )
    head = b"GGUF" + struct.pack("<IQQ", rng.choice((2, 3)), tensors, len(values))
    data = head + b"".join(values) + table
    return data + bytes(-len(data) % 32 + 256 * tensors)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(rng: random.Random, index: int) -> bytes:
    known = ("llama.block_count", "split.count", "general.alignment", "tokenizer.ggml.tokens")
    key = _text(rng.choice(known) if rng.random() < 0.2 else f"key{index}")
    kind = rng.randrange(13)
    if kind == 9:
        element = rng.choice((0, 4, 6, 8))
        count = rng.randrange(5)
        size = {0: 1, 4: 4, 6: 4}.get(element, 0)
        body = rng.randbytes(count * size) if size else b"".join(_text("t" * i) for i in range(count))
        return key + struct.pack("<IIQ", 9, element, count) + body
    if kind == 8:
        return key + struct.pack("<I", 8) + _text("llama")
    size = {0: 1, 1: 1, 7: 1, 2: 2, 3: 2, 10: 8, 11: 8, 12: 8}.get(kind, 4)
    return key + struct.pack("<I", kind) + rng.randbytes(size)


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to five changes; the magic mostly stays, or nothing else would ever be read."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        place = rng.randrange(4, min(len(content), rng.choice((32, 400, 6000, len(content)))) or 5)
        match rng.randrange(7):
            case 0:
                content[place] = rng.randrange(256)
            case 1:
                content[place] ^= 1 << rng.randrange(8)
            case 2:
                content[place : place + 8] = struct.pack("<Q", rng.choice(_NUMBERS))
            case 3:
                content[place : place + 4] = struct.pack("<I", rng.choice(_NUMBERS) & 0xFFFFFFFF)
            case 4:
                del content[place : place + rng.randint(1, 40)]
            case 5:
                content[place:place] = content[place : place + rng.randint(1, 200)]
            case 6:
                del content[max(place, 8) :]
        if len(content) < 8:
            break
    return bytes(content)


def use(gguf: GGUFFile) -> None:
    """Everything that is done with a header that was read, before the file is stored.

    Raises:
        GGUFError
    """
    for value in gguf.metadata.values():
        if isinstance(value, GGUFArray):
            value.values()
    gguf.raw_values()
    group_splits([("m-00001-of-00002.gguf", gguf)])
    check_loadable(gguf)


def check(path: Path, data: bytes) -> tuple[str, bool]:
    """What is wrong with how a file is read, or "", and whether its header was read."""
    path.write_bytes(data)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    started = time.perf_counter()
    is_sound = False
    try:
        gguf = GGUFFile.open(path)
        is_sound = True
        use(gguf)
    except GGUFError as exc:
        if not str(exc):
            return "an error without a reason", is_sound
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}", is_sound
    elapsed = time.perf_counter() - started
    _, peak = tracemalloc.get_traced_memory()
    if elapsed > TIME_LIMIT_S:
        return f"took {elapsed:.1f} s", is_sound
    if peak - before > len(data) + MEMORY_CONSTANT_BYTES:
        return f"took {peak - before} bytes for a file of {len(data)}", is_sound
    return "", is_sound


def run(count: int, seed: int, *, show: int = 20) -> tuple[int, int, float]:
    """Read so many mutated files; returns the numbers of failures and of headers read, and the slowest seconds."""
    rng = random.Random(seed)
    whole: Sequence[bytes] = [p.read_bytes() for p in sorted(FIXTURES.glob("*.gguf"))]
    failures, accepted, slowest = 0, 0, 0.0
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.gguf"
            for i in range(count):
                original = small_file(rng)
                if i % 8 == 0:
                    original = rng.choice(whole)
                    original = original if i % 40 == 0 else original[:40_000]
                data = mutate(rng, original)
                started = time.perf_counter()
                fault, is_sound = check(path, data)
                accepted += is_sound
                slowest = max(slowest, time.perf_counter() - started)
                if fault:
                    failures += 1
                    if failures <= show:
                        print(f"{i}: {fault}\n  {data[:160].hex()}")
    finally:
        tracemalloc.stop()
    return failures, accepted, slowest


def main() -> int:
    arguments = argparse.ArgumentParser(description="Read mutated model files.")
    arguments.add_argument("--count", type=int, default=200_000)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    started = time.perf_counter()
    failures, accepted, slowest = run(options.count, options.seed)
    elapsed = time.perf_counter() - started
    print(f"{options.count} files, {accepted} headers read, {failures} failures")
    print(f"{elapsed:.1f} s, slowest {slowest * 1e3:.1f} ms")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
