"""The log: lines that cannot be forged, and a writer that nobody has to wait for."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.logs import JSONFormatter, LineFormatter, LogWriter, escape_controls


@given(st.text(max_size=60))
def test_nothing_but_visible_text_passes(text: str) -> None:
    escaped = escape_controls(text)
    assert len(escaped.splitlines()) <= 1
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029\u202e\u2066" for c in escaped)
    escaped.encode()
    assert escaped == text or not text.isprintable()


@given(st.text(max_size=60))
def test_an_event_as_json(text: str) -> None:
    record = logging.LogRecord("corral.http", logging.INFO, "f", 1, "request %s", (text,), None)
    record.fields = {"path": text, "status": 200}
    line = JSONFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    entry = json.loads(line)
    assert entry["message"] == f"request {text}"
    assert (entry["path"], entry["status"], entry["level"]) == (text, 200, "INFO")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])


def test_a_traceback_as_json() -> None:
    try:
        raise ValueError("x\ny")
    except ValueError:
        record = logging.LogRecord("corral", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    assert "ValueError: x\ny" in json.loads(JSONFormatter().format(record))["traceback"]


def test_what_may_be_seen_stays() -> None:
    text = "Größe 世界 😀 'quoted' \\n"
    assert escape_controls(text) == text


def test_a_traceback_cannot_look_like_an_event() -> None:
    """An exception's text may come from a client too."""
    try:
        raise ValueError("x\n2026-11-30T00:00:00.000 INFO corral.http request id=1\x1b[31m")
    except ValueError:
        record = logging.LogRecord("corral", logging.ERROR, "f", 1, "failed\nid=%s", ("\r2",), sys.exc_info())
    lines = LineFormatter().format(record).split("\n")
    assert lines[0].endswith("ERROR corral failed\\nid=\\r2")
    assert all(line.startswith("    ") for line in lines[1:])
    assert "\x1b" not in "".join(lines)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    yield read_end, write_end
    for end in (read_end, write_end):
        try:
            os.close(end)
        except OSError:
            continue


def drain(read_end: int) -> list[str]:
    with open(read_end, closefd=False) as file:
        return file.read().splitlines()


def test_everything_is_written_before_the_end(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    writer = LogWriter(write_end)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(drain(read_end)))
    reader.start()
    for i in range(20_000):
        writer.put(f"line {i}\n")
    writer.drain()
    os.close(write_end)
    reader.join()
    assert lines == [f"line {i}" for i in range(20_000)]
    assert writer.dropped_count == 0


def test_an_unread_pipe_holds_nobody_up(pipe: tuple[int, int]) -> None:
    """What does not fit is dropped and counted, and told when somebody reads again."""
    read_end, write_end = pipe
    writer = LogWriter(write_end, max_queued_bytes=100_000)
    for i in range(5_000):
        writer.put(f"line {i:05} {'x' * 100}\n")
    dropped_count = writer.dropped_count
    assert dropped_count > 3_000
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(drain(read_end)))
    reader.start()
    writer.drain(60)
    os.close(write_end)
    reader.join()
    # Usually one: but the pipe takes some lines, and if that makes room early, there is one more.
    notes = [line for line in lines if line.endswith(" log lines were dropped: nobody read them in time)")]
    assert sum(int(note[1:].split()[0]) for note in notes) == dropped_count
    assert len(lines) == 5_000 - dropped_count + len(notes)


def test_the_end_does_not_wait_for_a_reader_that_is_not_there(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1])
    writer.put("x" * 1_000_000)
    writer.drain(0.05)


def test_a_closed_pipe_is_no_error(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    os.close(read_end)
    writer = LogWriter(write_end)
    writer.put("nobody is there\n")
    writer.put("nor now\n")
    writer.drain()


def test_records_that_cannot_be_formatted_are_named(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    writer = LogWriter(write_end)
    writer.emit(logging.LogRecord("corral.x", logging.INFO, "f", 1, "%d", ("no number",), None))
    writer.drain()
    os.close(write_end)
    assert drain(read_end) == ["a log record of corral.x could not be formatted"]


def test_a_line_is_bounded() -> None:
    """An error that quotes what a stranger sent does not fill the disk."""
    record = logging.LogRecord("corral", logging.INFO, "f", 1, "error=%s", ("x" * 100_000,), None)
    line = LineFormatter().format(record)
    assert len(line) < 4100
    assert re.search(r"\.\.\. \(96\d\d\d more characters\)$", line)
