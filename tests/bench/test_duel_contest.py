"""Whole rounds, against servers that are written down here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from bench.bench_duel import parse_arguments
from bench.duel.contest import Results, measure_scale, order, run_round
from bench.duel.figures import Sizes, groups, parts
from bench.duel.peers import Peer, server_url
from bench.duel.prompts import PromptMaker, Scale
from bench.duel.streams import PeerError


class OpenAIDouble(BaseHTTPRequestHandler):
    """Says a word for each token that it is asked for; has a few routes only."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    failing: ClassVar[set[str]] = set()
    prompts: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "m", "max_model_len": 1000}]} if self.path == "/v1/models" else None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path in self.failing:
            self._answer({"error": {"message": "out of memory"}}, 500)
        elif self.path == "/v1/embeddings":
            self._answer({"data": [{"embedding": [1.0]}] * len(body["input"])})
        elif self.path == "/v1/chat/completions":
            self._chat(body)
        else:
            self._answer(None)

    def _chat(self, body: dict[str, Any]) -> None:
        words = sum(len(message["content"].split()) for message in body["messages"])
        self.prompts.append(body["messages"][0]["content"])
        usage = {"prompt_tokens": 10 + 2 * words, "completion_tokens": body["max_tokens"]}
        if not body["stream"]:
            self._answer({"choices": [{"message": {"content": "word"}}], "usage": usage})
            return
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(body["max_tokens"]):
            self._event({"choices": [{"delta": {"content": "word "}}]})
        self._event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, data: object) -> None:
        self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")

    def _answer(self, data: object, status: int = 200) -> None:
        content = b"404 page not found" if data is None else json.dumps(data).encode()
        self.send_response(404 if data is None else status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Listener(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True


@contextmanager
def double(failing: set[str]) -> Iterator[tuple[Peer, list[str]]]:
    """A peer, and the beginnings of the prompts that it got."""

    class Double(OpenAIDouble):
        prompts: ClassVar[list[str]] = []

    Double.failing = failing
    server = _Listener(("127.0.0.1", 0), Double)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        peer = Peer("peer", f"http://127.0.0.1:{server.server_port}", "m", "e")
        peer.detect()
        yield peer, Double.prompts
    finally:
        server.shutdown()
        server.server_close()


def compete(peer: Peer, wanted: set[str], rounds: int = 1) -> Results:
    sizes = Sizes.quick(peer.context_length())
    chosen = [part for part in parts(sizes) if part.group in wanted]
    results = Results([figure for part in chosen for figure in part.figures], [peer.name])
    for number in range(rounds):

        def make(part: str, number: int = number) -> PromptMaker:
            return PromptMaker(f"{number} {part}", Scale())

        run_round(number, chosen, [peer], sizes, make, results, lambda _text: None)
    return results


def test_every_figure_that_openai_has() -> None:
    with double(set()) as (peer, _):
        results = compete(peer, set(groups()) - {"decode", "gap"})
    assert not peer.is_ollama
    assert not results.errors
    missing = {figure.key for figure in results.figures} - {key for key, _ in results.samples}
    assert missing == {
        *("chats.cached", "chats.seed.cached"),
        *("load.first", "load.returning"),
        *("routes.tags", "routes.show", "routes.version"),
        *("memory.server", "memory.tree"),
    }


def test_an_error_is_noted_and_the_rest_goes_on() -> None:
    with double({"/v1/embeddings"}) as (peer, _):
        results = compete(peer, {"embed", "first"}, rounds=2)
    assert results.errors["embed.one", "peer"] == "/v1/embeddings: 500 out of memory"
    assert len(results.samples["first.cold", "peer"]) == 2


def test_no_prompt_comes_back_in_a_later_round() -> None:
    with double(set()) as (peer, prompts):
        compete(peer, {"prefill", "streams"}, rounds=2)
    fresh = [prompt for prompt in prompts if prompt != "Hi"]
    assert len(fresh) == 2 * (2 + 4 + 8 + 16)
    assert len(set(fresh)) == len(fresh)


def test_the_scale_is_what_the_server_counts() -> None:
    with double(set()) as (peer, _):
        assert measure_scale([peer]) == Scale(14, 2)


def test_no_server() -> None:
    with pytest.raises(PeerError, match="ConnectionRefusedError"):
        Peer("peer", "http://127.0.0.1:9", "m").detect()


def test_everyone_is_first_equally_often() -> None:
    assert [list(order(3, number)) for number in range(3)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]


def test_no_part_is_longer_than_the_context() -> None:
    for sizes in (Sizes(1024), Sizes.quick(1024)):
        assert sizes.fit(8000) + sizes.decode < 1024
        assert sizes.history(2000) < sizes.fit(8000)


@pytest.mark.parametrize("text", ["127.0.0.1:80", "http://127.0.0.1:80/", "http://127.0.0.1:80/v1"])
def test_addresses(text: str) -> None:
    assert server_url(text) == "http://127.0.0.1:80"


def test_servers_stay_in_the_order_in_which_they_are_named() -> None:
    line = "--model m --peer a=u --corral b=p --peer c=v --only first,gap --env b:X=1=2 --pid a=7"
    arguments = parse_arguments(line.split())
    assert arguments.servers == [("peer", "a", "u"), ("corral", "b", "p"), ("peer", "c", "v")]
    assert arguments.only == ["first", "gap"]
    assert arguments.env == [("b", "X", "1=2")]


@pytest.mark.parametrize(
    "line",
    [
        "--model m",
        "--model m --peer a=u --peer a=v",
        "--model m --peer u",
        "--model m --peer a=u --only nothing",
        "--model m --peer a=u --env a:X=1",
        "--model m --corral a=p --pid a=1",
        "--model m --peer a=u --pid a=x",
    ],
)
def test_wrong_command_lines(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(line.split())
    assert "error" in capsys.readouterr().err
