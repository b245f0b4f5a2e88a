"""What `./dev flakes` makes of reports and seeds."""

from __future__ import annotations

import re
import shlex

from scripts.flakes import Failure, Round, failures_in, table

REPORT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="1" tests="3">
<testcase classname="tests.test_a" name="test_good[1 - 2]" file="tests/test_a.py" line="3" time="0.1" />
<testcase classname="tests.test_a" name="test_bad[a - b]" file="tests/test_a.py" line="9" time="0.1">
<failure message="AssertionError: assert 1 == 2&#10;  where 1 = x">long text</failure></testcase>
<testcase classname="tests.test_b.TestIt" name="test_worse" time="0.1">
<error message="failed on teardown">long text</error></testcase>
<testcase classname="tests.test_b" name="test_left" time="0"><skipped message="why">x</skipped></testcase>
</testsuite></testsuites>"""


def test_failures_and_errors_are_found() -> None:
    assert list(failures_in(REPORT, 7)) == [
        Failure("tests/test_a.py::test_bad[a - b]", 7, "AssertionError: assert 1 == 2"),
        Failure("tests.test_b.TestIt::test_worse", 7, "failed on teardown"),
    ]


def test_the_most_frequent_come_first() -> None:
    """A test that fails and whose end fails too counts once a round."""
    failures = [Failure("b", 1, "x"), Failure("a", 2, "y"), Failure("b", 3, "z"), Failure("b", 3, "end")]
    assert table(failures, 4) == ["2 of 4  b", "    seeds 1, 3: x", "1 of 4  a", "    seeds 2: y"]
    assert table([], 4) == []


def test_rounds_differ_and_can_be_played_again() -> None:
    rounds = [Round(seed) for seed in range(100)]
    for name in rounds[0].env:
        assert len({each.env[name] for each in rounds}) > 2, name
    assert len({each.umask for each in rounds}) == 3
    assert Round(12345).env == Round(12345).env
    shown = Round(12345).command(["tests/test_names.py", "-k", "a b"])
    assert re.fullmatch(r"\(umask \d{3}; .* --randomly-seed=12345 .*\)", shown)
    words = shlex.split(shown.strip("()"))
    assert words[-3:] == ["tests/test_names.py", "-k", "a b"] and "PYTHONHASHSEED=12345" in words
