"""In how many packets an answer leaves, and in which order: a head goes with the first piece after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from corral.web.call import Call
from corral.web.connection import Connection
from corral.web.heads import Request


class _Written:
    """A connection that keeps what is written."""

    is_closing_soon = is_blocked = False

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def common_headers(self) -> bytes:
        return b""

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def end_call(self, call: Call) -> None:
        self.pieces.append(b"ended")

    def abort(self) -> None:
        self.pieces.append(b"aborted")


def written(work: Callable[[Call], None], *, method: str = "GET") -> list[bytes]:
    """What is written by `work`, and once the event loop is free."""

    async def run() -> list[bytes]:
        connection = _Written()
        request = Request(method, "/", b"", [], size_bytes=0)
        work(Call(request, cast("Connection", connection), asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return connection.pieces

    return asyncio.run(run())


HEAD, STREAM = b"HTTP/1.1 200 OK\r\n%b\r\n", b"transfer-encoding: chunked\r\n"


def test_a_whole_answer_is_one_packet() -> None:
    def work(call: Call) -> None:
        call.start(200, (), 5)
        call.write(b"hello")
        call.end()

    assert written(work) == [HEAD % b"content-length: 5\r\n" + b"hello", b"ended"]


def test_the_first_piece_of_a_stream_goes_with_the_head() -> None:
    def work(call: Call) -> None:
        call.start(200, (), None)
        call.write(b"ab")
        call.write(b"c")
        call.end([(b"x", b"1")])

    first = HEAD % STREAM + b"2\r\nab\r\n"
    assert written(work) == [first, b"1\r\nc\r\n", b"0\r\nx: 1\r\n\r\n", b"ended"]


def test_a_head_does_not_wait_for_the_first_piece() -> None:
    assert written(lambda call: call.start(200, (), None)) == [HEAD % STREAM]


@pytest.mark.parametrize(("end", "last"), [(Call.end, b"ended"), (Call.abort, b"aborted")])
def test_a_head_without_a_body(end: Callable[[Call], None], last: bytes) -> None:
    def work(call: Call) -> None:
        call.start(200, (), 0)
        end(call)

    assert written(work) == [HEAD % b"content-length: 0\r\n", last]


def test_to_head_no_body_is_sent() -> None:
    def work(call: Call) -> None:
        call.start(200, (), 5)
        call.write(b"hello")
        call.end()

    assert written(work, method="HEAD") == [HEAD % b"content-length: 5\r\n", b"ended"]


def test_a_large_body_is_not_copied() -> None:
    body = bytes(1 << 20)

    def work(call: Call) -> None:
        call.start(200, (), len(body))
        call.write(body)

    head, sent = written(work)
    assert head == HEAD % b"content-length: 1048576\r\n"
    assert sent is body
