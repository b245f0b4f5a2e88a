"""Arguments as Go's pflag and cobra read them."""

from __future__ import annotations

import pytest

from corral.cli.frame.commands import COMMANDS, find_command
from corral.cli.frame.flags import Arguments, Command, Flag, UsageError, parse, parse_integer
from corral.cli.models.pull import _rate as parse_rate

RUN = find_command("run")
assert RUN is not None
SAMPLE = Command(
    "sample",
    "",
    "",
    "",
    (Flag("all", "", short="a"), Flag("file", "", "string", "f"), Flag("count", "", "int")),
)


def parsed(*words: str) -> tuple[list[str], dict[str, str]]:
    arguments: Arguments = parse(SAMPLE, words)
    return arguments.words, arguments.flags


def test_flags_stand_anywhere() -> None:
    """Before, between and after words; `--` ends them."""
    assert parsed("x", "--all", "y", "-f", "name") == (["x", "y"], {"all": "true", "file": "name"})
    assert parsed("--file=a=b", "-afname", "--", "--all") == (["--all"], {"file": "name", "all": "true"})
    assert parsed("-f=name", "-", "--all=false", "--count", "-0x10") == (
        ["-"],
        {"file": "name", "all": "false", "count": "-0x10"},
    )


def test_think_never_takes_the_next_word() -> None:
    """`run --think high m` runs a model called high."""
    assert RUN is not None
    arguments = parse(RUN, ["--think", "high", "m", "--nowordwrap"])
    assert (arguments.words, arguments.get("think")) == (["high", "m"], "true")
    assert parse(RUN, ["m", "--think=high"]).get("think") == "high"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--nope=1"], "unknown flag: --nope"),
        (["---x"], "bad flag syntax: ---x"),
        (["--=x"], "bad flag syntax: --=x"),
        (["-az"], "unknown shorthand flag: 'z' in -z"),
        (["-zf"], "unknown shorthand flag: 'z' in -zf"),
        (["-f"], "flag needs an argument: 'f' in -f"),
        (["--file"], "flag needs an argument: --file"),
        (["--count", "x"], 'invalid argument "x" for "--count" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (["--count", "9" * 30], f'invalid argument "{"9" * 30}" for "--count" flag: '
                                f'strconv.ParseInt: parsing "{"9" * 30}": value out of range'),
        (["-a=x"], 'invalid argument "x" for "-a, --all" flag: strconv.ParseBool: parsing "x": invalid syntax'),
    ],
)  # fmt: skip
def test_wrong_flags(words: list[str], text: str) -> None:
    """The texts are pflag's."""
    with pytest.raises(UsageError) as caught:
        parse(SAMPLE, words)
    assert str(caught.value) == text


def test_integers() -> None:
    """Base by prefix, as Go has it."""
    assert [parse_integer(text) for text in ("12", "-3", "0x1f", "010", "0o17", "0b11")] == [
        12,
        -3,
        31,
        8,
        15,
        3,
    ]
    for text in ("", "1 ", "--1", "1.5", "08"):
        with pytest.raises(ValueError):
            parse_integer(text)


def test_rates() -> None:
    """Bytes a second in the units that people type."""
    assert [parse_rate(text) for text in ("500", "500K", "1.5M", "20MB/s", "1GiB", "2kb")] == [
        500, 500_000, 1_500_000, 20_000_000, 2**30, 2000,
    ]  # fmt: skip
    for text in ("", "fast", "-1M", "1X", "nan", "inf"):
        with pytest.raises(UsageError, match="limit-rate"):
            parse_rate(text)


def test_every_command_has_its_function() -> None:
    """The table names modules and functions that exist."""
    for command in COMMANDS:
        if command.target:
            module, _, function = command.target.partition(":")
            assert callable(getattr(__import__(f"corral.cli.{module}", fromlist=[function]), function))
