"""Tools: defined by the reader, called by a model, answered by hand or by a server that is allowed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.conftest import Server
from tests.web.browser.conftest import Opens
from tests.web.browser.guards import Guards
from tests.web.browser.stage import Asked, Script, Stage, chat_of, show_of
from tests.web.browser.talk import Talk


@pytest.fixture
def staged(opens: Opens, stage: Stage) -> Talk:
    shown: Talk = opens(stage.base, kind=Talk)
    return shown


def call_of(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"content": "", "tool_calls": [{"id": "c1", "function": {"name": name, "arguments": arguments}}]}


def calls_once(asked: Asked) -> Script:
    """A model that calls a tool, and says what it got."""
    last = asked.json["messages"][-1]
    if last["role"] == "tool":
        return chat_of(f"it is {last['content']}")
    return chat_of(call_of("get_weather", {"city": "Graz"}))


def test_tool_is_defined_called_and_answered_by_hand(opens: Opens, stage: Stage) -> None:
    stage.play("/api/show", show_of("tools"))
    stage.play("/api/chat", calls_once)
    staged = opens(stage.base, kind=Talk)
    staged.settings()
    staged.dialog().get_by_role("button", name="Add a tool").click()
    staged.dialog().get_by_role("button", name="Save", exact=True).click()
    assert staged.dialog().get_by_role("switch", name="get_weather").get_attribute("aria-checked") == "true"
    staged.settled()
    staged.say("How is the weather?")
    staged.answer().get_by_text("waits for a result").wait_for()
    assert "Graz" in staged.answer().inner_text()
    staged.answer().get_by_role("textbox", name="Result").fill("sunny")
    staged.press("Give the result")
    staged.answers_with("it is sunny")
    first, second = stage.bodies("/api/chat")
    assert first["tools"][0]["function"]["name"] == "get_weather"
    assert [each["role"] for each in second["messages"]] == ["user", "assistant", "tool"]
    assert second["messages"][1]["tool_calls"][0]["function"] == {
        "name": "get_weather",
        "arguments": {"city": "Graz"},
    }
    assert second["messages"][2]["tool_name"] == "get_weather"


def test_wrong_tool_definition_is_said(staged: Talk) -> None:
    staged.settings()
    staged.dialog().get_by_role("button", name="Add a tool").click()
    staged.dialog().get_by_label("Definition, as JSON").fill('{"name": "not a name!"}')
    staged.dialog().get_by_role("button", name="Save", exact=True).click()
    staged.dialog().get_by_text("A tool needs a name of letters, digits, _ and -.").wait_for()


class WeatherServer:
    """A server of somebody else, which the page of `origin` may ask."""

    def __init__(self) -> None:
        self.origin = ""
        self.asked: list[tuple[dict[str, str], Any]] = []
        weather = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                """A test's output is for what failed."""

            def do_OPTIONS(self) -> None:
                self._answer(204, b"")

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                weather.asked.append(({name.lower(): text for name, text in self.headers.items()}, body))
                self._answer(200, b"snowing")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Access-Control-Allow-Origin", weather.origin)
                self.send_header("Access-Control-Allow-Headers", "content-type")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_address[1]}"
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()


@pytest.fixture
def weather() -> Iterator[WeatherServer]:
    found = WeatherServer()
    yield found
    found.close()


@pytest.fixture
def allowing(start_server: Callable[..., Server], weather: WeatherServer) -> Iterator[Stage]:
    """A stage before a server that lets its page ask the weather server, and no other."""
    server = start_server(CORRAL_UI_TOOL_ORIGINS=weather.base)
    server.create("tiny", "tiny")
    stage = Stage(server)
    weather.origin = stage.base
    stage.play("/api/show", show_of("tools"))
    stage.play("/api/chat", calls_once)
    yield stage
    stage.close()


def add_tool(talk: Talk, url: str, *, asks: bool) -> None:
    talk.settings()
    talk.dialog().get_by_role("button", name="Add a tool").click()
    talk.dialog().get_by_label("Address that gives the result").fill(url)
    if not asks:
        talk.dialog().get_by_role("switch", name="Ask me before each call").click()
    talk.dialog().get_by_role("button", name="Save", exact=True).click()


def test_tool_at_an_allowed_address_is_asked(
    opens: Opens, allowing: Stage, weather: WeatherServer, guards: Guards
) -> None:
    """Through the policy of the page (connect-src), by itself; without key, cookies and referrer."""
    guards.allowed.append(f"another origin: {weather.base}/now")
    talk = opens(allowing.base, kind=Talk)
    add_tool(talk, f"{weather.base}/now", asks=False)
    talk.settled()
    talk.say("How is the weather?")
    talk.answers_with("it is snowing")
    ((headers, body),) = weather.asked
    assert body == {"name": "get_weather", "arguments": {"city": "Graz"}}
    assert headers["content-type"] == "application/json" and headers["origin"] == allowing.base
    assert headers.keys().isdisjoint({"authorization", "cookie", "referer"})


def test_reader_is_asked_before_a_tool_is(
    opens: Opens, allowing: Stage, weather: WeatherServer, guards: Guards
) -> None:
    guards.allowed.append(f"another origin: {weather.base}/now")
    talk = opens(allowing.base, kind=Talk)
    add_tool(talk, f"{weather.base}/now", asks=True)
    talk.settled()
    talk.say("How is the weather?")
    talk.answer().get_by_text("waits for a result").wait_for()
    assert weather.asked == []
    talk.answer().get_by_role("button", name=f"Ask {weather.base.removeprefix('http://')}").click()
    talk.answers_with("it is snowing")
    assert len(weather.asked) == 1


def test_tool_at_another_address_is_refused(opens: Opens, allowing: Stage, weather: WeatherServer) -> None:
    talk = opens(allowing.base, kind=Talk)
    other = weather.base.replace("127.0.0.1", "localhost")
    add_tool(talk, f"{other}/now", asks=False)
    talk.dialog().get_by_text(f"CORRAL_UI_TOOL_ORIGINS of the server does not name {other}").wait_for()
    talk.dialog().get_by_label("Address that gives the result").fill(f"{allowing.base}/api/delete")
    talk.dialog().get_by_role("button", name="Save", exact=True).click()
    talk.dialog().get_by_text("this server itself cannot be a tool").wait_for()
    assert weather.asked == []
