"""Modelfile text to directives: the original's rules, and where we depart from them."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from corral.modelfile import ModelfileError, fields_of, parse_modelfile, parse_parameters

COMMANDS = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)
ROLES = 'message role must be one of "system", "user", or "assistant"'


def read(text: str) -> list[tuple[str, ...]]:
    """Commands as tuples: name, key if there is one, value."""
    return [(d.name, d.key, d.value) if d.key else (d.name, d.value) for d in parse_modelfile(text.encode())]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("FrOm foo", [("from", "foo")]),
        ("FROM ", [("from", "")]),
        ("FROM a # not comment", [("from", "a # not comment")]),
        ("  from a\n\t# c\n\nFROM b", [("from", "a"), ("from", "b")]),
        ("FROM a\nMESSAGE user hi", [("from", "a"), ("message", "user", "hi")]),
        ("FROM a\nMESSAGE user a: b", [("from", "a"), ("message", "user", "a: b")]),
        ('FROM a\nMESSAGE assistant """x\ny"""', [("from", "a"), ("message", "assistant", "x\ny")]),
        ('FROM a\nMESSAGE user " sp"', [("from", "a"), ("message", "user", " sp")]),
        ("FROM a\nPARAMETER temperature \n", [("from", "a"), ("parameter", "temperature", "")]),
        ("FROM a\nPARAMETER  temperature 1", [("from", "a"), ("parameter", "temperature 1")]),
        ('FROM a\nSYSTEM "abc\nPARAMETER stop b"', [("from", "a"), ("system", "abc\nPARAMETER stop b")]),
        ("FROM a\nSYSTEM 'abc'", [("from", "a"), ("system", "'abc'")]),
        ('FROM a\nSYSTEM ""', [("from", "a"), ("system", "")]),
        ('FROM a\nSYSTEM "a""b"', [("from", "a"), ("system", 'a""b')]),
        ("FROM a\nSYSTEM a\\nb", [("from", "a"), ("system", "a\\nb")]),
        ('FROM a\nSYSTEM """"a""""', [("from", "a"), ("system", '"a"')]),
        ('FROM a\nSYSTEM """a\r\nb\tc"""', [("from", "a"), ("system", "a\r\nb\tc")]),
        ('FROM a\nSYSTEM """x "y" z\nw"""', [("from", "a"), ("system", 'x "y" z\nw')]),
        ('FROM a\nTEMPLATE """\n{{ .Prompt }}\n"""', [("from", "a"), ("template", "\n{{ .Prompt }}\n")]),
        ("FROM a\nSYSTEM   x  \n", [("from", "a"), ("system", "x")]),
        ("\ufeffFROM a", [("from", "a")]),
        ("FR\u200bOM a", [("from", "a")]),
        ("FROM a\rSYSTEM b\rLICENSE c", [("from", "a"), ("system", "b"), ("license", "c")]),
        (
            'FROM a\nSYSTEM """<<END\nx"""\n"\nEND"""\nLICENSE c',
            [("from", "a"), ("system", 'x"""\n"'), ("license", "c")],
        ),
        ('FROM a\nSYSTEM """<<END\nb"""', [("from", "a"), ("system", "<<END\nb")]),
    ],
)
def test_reads(text: str, commands: list[tuple[str, ...]]) -> None:
    """Commands, values and quotes as the original reads them; fences as ours."""
    assert read(text) == commands


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(encoding: str) -> None:
    """Editors on Windows save UTF-16, and UTF-8 with a mark."""
    assert [d.value for d in parse_modelfile("FROM a\r\nSYSTEM grüße".encode(encoding))] == ["a", "grüße"]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("SYSTEM a\u00a0b\u200bc\u200d😀", [("system", "a\u00a0b\u200bc\u200d😀")]),
        ('SYSTEM "a\x01b"', [("system", "a\x01b")]),
        ('SYSTEM "a" b', [("system", '"a" b')]),
        ('SYSTEM "a" b\nPARAMETER stop "c"', [("system", '"a" b'), ("parameter", "stop", "c")]),
        ('SYSTEM "a" b\nc"', [("system", 'a" b\nc')]),
    ],
)
def test_keeps_what_the_original_loses(text: str, commands: list[tuple[str, ...]]) -> None:
    """Invisible characters, and the commands behind a value with text after its closing quote."""
    assert read(f"FROM x\n{text}") == [("from", "x"), *commands]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM", "unexpected EOF", 1),
        ("FROM\n", f"(line 2): {COMMANDS}", 1),
        ("", "no FROM line", 0),
        ("# c", "no FROM line", 0),
        ("PARAMETER temperature 1", "no FROM line", 0),
        ("BAD x", f"(line 1): {COMMANDS}", 1),
        ("FROM foo\nBADCOMMAND p v", f"(line 2): {COMMANDS}", 2),
        ("FROM foo\r\nBAD p v", f"(line 2): {COMMANDS}", 2),
        ("FROM: x", f"(line 1): {COMMANDS}", 1),
        ("F1 x", f"(line 1): {COMMANDS}", 1),
        ("FROM a\nEMBED x", f"(line 2): {COMMANDS}", 2),
        ("FROM a\nPARAMETER temperature\n", "unexpected EOF: temperature", 2),
        ("FROM a\nPARAMETER temperature", "unexpected EOF", 2),
        ("FROM a\nPARAMETER te-mp 1", "unexpected EOF: te", 2),
        ("FROM a\nMESSAGE  user hi", f"(line 2): {ROLES}", 2),
        ("FROM a\nMESSAGE User hi", f"(line 2): {ROLES}", 2),
        ("FROM a\nMESSAGE tool hi", f"(line 2): {ROLES}", 2),
        ("FROM a\nMESSAGE user\n", "unexpected EOF: user", 2),
        ("FROM a\nMESSAGE user1 hi", "unexpected EOF: user", 2),
        ('FROM a\nSYSTEM """x\ny""" trailing\nPARAMETER stop b', "unexpected EOF", 2),
        ('FROM a\nSYSTEM """never\n\n', "unexpected EOF", 2),
        (
            'FROM a\nSYSTEM """\nb""" c\nTEMPLATE """d"""',
            '(line 3): there is text after the closing """ of a value',
            3,
        ),
    ],
)
def test_refuses(text: str, message: str, line: int) -> None:
    """The original's words, and the line where the fault is."""
    with pytest.raises(ModelfileError) as caught:
        parse_modelfile(text.encode())
    assert (str(caught.value), caught.value.line) == (message, line)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings(encoding: str) -> None:
    """By their mark, and UTF-16 without one by its zeros."""
    text = "FROM a\r\nSYSTEM grüße 😀\r\n"
    assert [d.value for d in parse_modelfile(text.encode(encoding))] == ["a", "grüße 😀"]


@pytest.mark.parametrize(
    ("data", "line", "detail"),
    [
        ("FROM a\n\nSYSTEM grüße\n".encode("latin-1"), 3, "byte 0xfc is not UTF-8, which would be 'ü'"),
        (b"FROM a\nSYSTEM \xe2\x82\n", 2, "byte 0xe2"),
        ("FROM a\nSYSTEM ü".encode("utf-16")[:-1], 2, "UTF-16"),
        (b"\xff\xfe" + "FROM a\n".encode("utf-16-le") + b"\x00\xd8a\0", 2, "UTF-16"),
    ],
)
def test_no_silent_damage(data: bytes, line: int, detail: str) -> None:
    """What cannot be decoded is an error with its place, instead of other letters."""
    with pytest.raises(ModelfileError, match="save it as UTF-8") as caught:
        parse_modelfile(data)
    assert (caught.value.line, detail in caught.value.detail) == (line, True), caught.value.detail


def test_typed_parameters() -> None:
    """Every type; `stop` adds up, the last of the others counts, deprecated ones go."""
    text = (
        "FROM a\nPARAMETER stop <a>\nPARAMETER stop b c\nPARAMETER num_ctx 4096\nPARAMETER temperature 0.7\n"
        "PARAMETER use_mmap F\nPARAMETER top_p 1e-2\nPARAMETER min_p 0.1234567891\nPARAMETER seed -1\n"
        "PARAMETER mirostat nonsense\nPARAMETER temperature .5"
    )
    parameters, deprecated = parse_parameters(parse_modelfile(text.encode()))
    assert parameters == {
        "stop": ["<a>", "b c"],
        "num_ctx": 4096,
        "temperature": 0.5,
        "use_mmap": False,
        "top_p": 0.01,
        "min_p": 0.12345679,
        "seed": -1,
    }
    assert deprecated == ["mirostat"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("num_ctx abc", "invalid int value [abc]"),
        ("num_ctx 1.5", "invalid int value [1.5]"),
        ("num_ctx ٤", "invalid int value [٤]"),
        (f"num_ctx {'9' * 5000}", f"invalid int value [{'9' * 5000}]"),
        ("seed 0x10", "invalid int value [0x10]"),
        ("seed 9223372036854775808", "invalid int value [9223372036854775808]"),
        ("temperature x", "invalid float value [x]"),
        ("temperature 1e39", "invalid float value [1e39]"),
        ("temperature nan", "invalid float value [nan]"),
        ("temperature ", "invalid float value []"),
        ("use_mmap maybe", "invalid bool value [maybe]"),
        ("foo 1", "unknown parameter 'foo'"),
        ("numa true", "unknown parameter 'numa'"),
        (" temperature 1", "unknown parameter ''"),
    ],
)
def test_bad_parameters(line: str, message: str) -> None:
    """The original's words."""
    with pytest.raises(ModelfileError) as caught:
        parse_parameters(parse_modelfile(f"FROM a\nPARAMETER {line}\n".encode()))
    assert (str(caught.value), caught.value.line) == (message, 2)


@pytest.mark.parametrize(
    ("version", "stored"),
    [
        ("v0.14", "0.14"),
        ("0.14.0", "0.14.0"),
        ("1.2.3-rc.1+b", "1.2.3-rc.1+b"),
        ("0.14.0.1", None),
        ("x", None),
    ],
)
def test_requires(version: str, stored: str | None) -> None:
    """A semantic version, perhaps short, perhaps with a v."""
    directives = parse_modelfile(f"FROM a\nREQUIRES {version}".encode())
    if stored is None:
        with pytest.raises(ModelfileError, match="requires must be a valid semver"):
            fields_of(directives)
    else:
        assert fields_of(directives).request == {"requires": stored}


def test_fields() -> None:
    """What a create request takes from a Modelfile."""
    text = (
        "FROM a\nFROM b\nADAPTER c\nDRAFT d\nTEMPLATE x\nTEMPLATE t\nSYSTEM s\nLICENSE MIT\nLICENSE Apache 2\n"
        "RENDERER r\nPARSER p\nMESSAGE user hi\nPARAMETER seed 1"
    )
    fields = fields_of(parse_modelfile(text.encode()))
    assert fields.request == {
        "parameters": {"seed": 1},
        "template": "t",
        "system": "s",
        "license": ["MIT", "Apache 2"],
        "renderer": "r",
        "parser": "p",
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert (fields.sources, fields.adapters, fields.drafts) == (("a", "b"), ("c",), ("d",))


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ['system "a" b\n', 'SYSTEM """<<END\n', 'system """a\n', 'SYSTEM "\n', '"""', "\r", "\u200b"]
)
@pytest.mark.timeout(60)
def test_time_grows_with_the_size(line: str) -> None:
    """Fifty thousand open quotes take a moment; a reader that looks ahead for each would take hours."""
    with contextlib.suppress(ModelfileError):
        parse_modelfile(("FROM a\n" + line * 50_000).encode())


def test_fuzz() -> None:
    """A share of what scripts/fuzz_modelfile.py does at length."""
    fuzz = load_fuzzer()
    assert fuzz.run(count=2000, seed=random.randrange(1 << 30)) == 2000


def load_fuzzer() -> Any:
    import importlib.util

    path = Path(__file__).parents[2] / "scripts" / "fuzz_modelfile.py"
    spec = importlib.util.spec_from_file_location("fuzz_modelfile", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
