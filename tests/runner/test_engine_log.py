"""Lines of an engine's stderr in the log."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from contextvars import copy_context
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from corral import requestfacts
from corral.runner.engine_log import EngineLog

if TYPE_CHECKING:
    import pytest


def lines_of(chunks: list[bytes]) -> list[str]:
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    log = logging.getLogger("corral.engine")
    collector, level = Collector(), log.level
    log.addHandler(collector)
    log.setLevel(logging.DEBUG)
    try:
        engine_log = EngineLog("m:latest")
        for chunk in chunks:
            engine_log.feed(chunk)
        engine_log.finish()
    finally:
        log.removeHandler(collector)
        log.setLevel(level)
    return found


def test_lines_carry_the_name_of_the_model() -> None:
    chunks = [b"one\n\ntw", b"o\r\nthree"]
    assert lines_of(chunks) == ["model=m:latest one", "model=m:latest two", "model=m:latest three"]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_cut_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, *cuts, len(data)})
    chunks = [data[start:end] for start, end in pairwise(places)]
    assert lines_of(chunks) == lines_of([data])


def test_lines_carry_the_requests_that_they_may_be_about(caplog: pytest.LogCaptureFixture) -> None:
    """One after the other, at the same time, the same one twice, and one that came by another way than HTTP."""
    engine_log = EngineLog("m")

    def begin(name: str, stack: ExitStack) -> None:
        requestfacts.begin(name)
        stack.enter_context(engine_log.working())

    def work(*names: str) -> list[tuple[str, object]]:
        caplog.clear()
        with ExitStack() as stack:
            for name in names:
                copy_context().run(begin, name, stack)
            engine_log.feed(b"E something is \x1b[31mwrong\n")
        engine_log.feed(b"after it\n")
        return [(record.getMessage(), record.__dict__["fields"].get("request")) for record in caplog.records]

    with caplog.at_level(logging.DEBUG, "corral.engine"):
        for names, said in (
            (("a",), "a"),
            (("a", "b"), "a,b"),
            (("a", "a"), "a"),
            ((), None),
            (("",), None),
            (tuple("abcde"), None),
        ):
            words = f"request={said} " if said else ""
            line = f"model=m {words}E something is \x1b[31mwrong"
            assert work(*names) == [(line, said), ("model=m after it", None)]


def test_a_line_without_end_does_not_grow() -> None:
    lines = lines_of([b"x" * 1500] * 100)
    assert len(lines) > 10
    assert all(len(line) < 2100 for line in lines)


def test_nothing_is_kept_while_nobody_reads_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "corral.engine"):
        engine_log = EngineLog("m")
        engine_log.feed(b"one\ntwo")
        engine_log.finish()
    assert not caplog.records
