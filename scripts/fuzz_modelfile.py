"""Feeds mutated Modelfiles to the reader: it may refuse them, and must not crash, hang or lose anything it read.

    python scripts/fuzz_modelfile.py [COUNT] [SEED]      default: 200000 inputs

Each input that is accepted is printed and read again, and has to give the same directives.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time

from corral.modelfile import ModelfileError, fields_of, format_modelfile, parse_modelfile

SEEDS = [
    b'FROM llama3.2\nPARAMETER temperature 1\nPARAMETER stop "<|end|>"\nSYSTEM """\nYou are Mario.\n"""\n',
    b'# comment\r\nFROM ./model.gguf\r\nTEMPLATE """{{ .System }}\r\n{{ .Prompt }}"""\r\nLICENSE MIT\r\n',
    b'from a\nMESSAGE user hi\nMESSAGE assistant """x\ny"""\nADAPTER ./lora\nREQUIRES v0.14.0\n',
    "FROM a\nSYSTEM Grüße \u200d\u00a0😀\nRENDERER r\nPARSER p\nDRAFT d\n".encode("utf-16"),
    b'\xef\xbb\xbfFROM a\nSYSTEM """<<END\na"""\nb"\nEND"""\nPARAMETER num_ctx 4096\n',
]
PIECES = [
    b'"', b'"""', b"\n", b"\r", b"\r\n", b" ", b"\t", b"\x00", b"\xff", b"\xff\xfe", b"\xe2\x80\x8d", b"#", b"FROM ",
    b"PARAMETER ", b"MESSAGE user ", b"SYSTEM ", b'"""<<END\n', b'\nEND"""', b"9" * 30, b"stop ",
    b"temperature 1e400",
]  # fmt: skip
_SLOW_S = 5.0


def mutate(random_: random.Random) -> bytes:
    """A seed with some bytes changed, pieces put in, parts cut or doubled."""
    data = bytearray(random_.choice(SEEDS))
    for _ in range(random_.randint(1, 8)):
        at = random_.randint(0, len(data))
        match random_.randrange(5):
            case 0 if data:
                data[at % len(data)] = random_.randrange(256)
            case 1:
                data[at:at] = random_.choice(PIECES)
            case 2:
                del data[at : at + random_.randint(1, 12)]
            case 3:
                data[at:at] = data[at : at + random_.randint(1, 40)]
            case _:
                data[at:at] = random_.choice(SEEDS)[: random_.randint(1, 60)]
    return bytes(data)


def run(count: int, seed: int) -> int:
    """Try inputs; the number of those tried."""
    random_ = random.Random(seed)
    for number in range(count):
        data = mutate(random_)
        start_s = time.monotonic()
        try:
            directives = parse_modelfile(data)
        except ModelfileError:
            continue
        with contextlib.suppress(ModelfileError):
            fields_of(directives)
        again = parse_modelfile(format_modelfile(directives).encode())
        assert again == directives, f"seed {seed}, input {number}: {data!r}"
        assert time.monotonic() - start_s < _SLOW_S, f"seed {seed}, input {number} is slow: {data!r}"
    return count


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    start_s = time.monotonic()
    print(f"{run(count, seed)} inputs, seed {seed}, {time.monotonic() - start_s:.0f} s")


if __name__ == "__main__":
    main()
