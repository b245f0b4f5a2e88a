"""Details of the compatible surfaces on a real engine: stops, formats, errors, ids, log probabilities, reasoning."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Server

TEMPLATE = "{{ range .Messages }}{{ .Content }}{{ end }}"
AGENT = {"User-Agent": "test"}


@pytest.fixture(scope="module")
def script(server: Server) -> Server:
    """The shared server with `script`, which says a text for each digit: 8 is "one two HALT three four"."""
    server.create("script", "script", template=TEMPLATE)
    return server


@pytest.fixture(scope="module")
def tiny(server: Server) -> Server:
    """The shared server with `corral-tiny`, which thinks and has a template of its own."""
    assert server.stream("/api/pull", {"model": "corral-tiny"})[-1] == {"status": "success"}
    return server


def ask(server: Server, path: str, digit: str = "8", **members: Any) -> tuple[int, Any]:
    """One request in the form of the path."""
    message = {"role": "user", "content": digit}
    body: dict[str, Any] = {"model": "script"}
    if path == "/v1/responses":
        body["input"] = digit
    elif path in ("/v1/completions", "/api/generate"):
        body["prompt"] = digit
    else:
        body["messages"] = [message]
    if path == "/v1/messages":
        body["max_tokens"] = 40
    if path.startswith("/api/"):
        body["stream"] = False
    status, data = server.request("POST", path, body | members, headers=AGENT)
    return status, json.loads(data) if data.startswith(b"{") else data


def events(data: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in data.splitlines() if line.startswith(b"data: ") and b"[DONE]" not in line]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_stop_sequence_of_a_message(script: Server, is_stream: bool) -> None:
    """It is named, unless the model ended by itself."""
    for given, wanted in ((["HALT"], "HALT"), (["x", " two"], " two"), (["nothing"], None)):
        _, answer = ask(script, "/v1/messages", stop_sequences=given, stream=is_stream)
        if is_stream:
            answer = next(event for event in events(answer) if event["type"] == "message_delta")["delta"]
        assert answer.get("stop_sequence") == wanted
        assert answer["stop_reason"] == ("stop_sequence" if wanted else "end_turn")


def test_a_stop_sequence_of_the_model(script: Server) -> None:
    """The request did not name it, so it is the end of the turn."""
    script.create("script-stops", "script", template=TEMPLATE, parameters={"stop": ["HALT"]})
    _, answer = ask(script, "/v1/messages", model="script-stops")
    assert answer["content"] == [{"type": "text", "text": "one two "}]
    assert (answer["stop_reason"], answer.get("stop_sequence")) == ("end_turn", None)


@pytest.mark.parametrize("stop", ["", [""], ["", "HALT"]])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
def test_empty_stop_sequences(script: Server, path: str, stop: Any) -> None:
    """They stop nothing; the others do."""
    status, answer = ask(script, path, stop=stop)
    assert status == 200
    text = "one two " if "HALT" in stop else "one two HALT three four"
    assert json.dumps(text)[:-1] in json.dumps(answer)
    assert ("four" in json.dumps(answer)) == ("HALT" not in stop)


def test_empty_stop_sequences_of_a_message(script: Server) -> None:
    """The same on Anthropic's surface, which has another member."""
    _, answer = ask(script, "/v1/messages", stop_sequences=[""])
    assert answer["content"] == [{"type": "text", "text": "one two HALT three four"}]


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "regex", "pattern": "a"},
        {"type": "JSON"},
        {"type": ""},
        {},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "json_schema", "json_schema": {"schema": None}},
        {"type": "json_schema", "json_schema": {"schema": [1]}},
        {"type": "json_object", "schema": "x"},
    ],
    ids=str,
)
def test_formats_that_mean_nothing(script: Server, wanted: dict[str, Any]) -> None:
    """400, for free text is not what was asked for."""
    for path, members in (
        ("/v1/chat/completions", {"response_format": wanted}),
        ("/v1/responses", {"text": {"format": wanted}}),
    ):
        status, answer = ask(script, path, **members)
        assert status == 400, path
        assert "format" in answer["error"]["message"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "json_schema", "json_schema": {"schema": {"enum": ["no"]}}},
        {"type": "json_schema", "schema": {"enum": ["no"]}},
        {"type": "json_object", "schema": {"enum": ["no"]}},
    ],
    ids=str,
)
def test_places_of_a_schema(script: Server, wanted: dict[str, Any]) -> None:
    """OpenAI's, and those of clients of other servers."""
    _, answer = ask(script, "/v1/chat/completions", response_format=wanted)
    assert answer["choices"][0]["message"]["content"] == '"no"'


def test_text_is_a_format(script: Server) -> None:
    """The one that binds nothing."""
    for path, members in (
        ("/v1/chat/completions", {"response_format": {"type": "text"}}),
        ("/v1/responses", {"text": {"format": {"type": "text"}}}),
    ):
        status, answer = ask(script, path, **members)
        assert status == 200
        assert "one two HALT" in json.dumps(answer)


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@pytest.mark.parametrize("effort", EFFORTS)
def test_reasoning_of_a_model_that_does_not_reason(script: Server, effort: str) -> None:
    """Clients ask it of every model; the answer comes without."""
    for path, members in (
        ("/v1/chat/completions", {"reasoning_effort": effort}),
        ("/v1/chat/completions", {"reasoning": {"effort": effort}}),
        ("/v1/responses", {"reasoning": {"effort": effort}}),
        ("/v1/messages", {"output_config": {"effort": effort}}),
        ("/v1/messages", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    ):
        status, answer = ask(script, path, **members)
        assert status == 200, (path, answer)
        assert "one two HALT" in json.dumps(answer)


LONG = "8 " * 5000


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_prompt_that_is_too_long_for_openai(tiny: Server, path: str, is_stream: bool) -> None:
    """The code that clients look for, and a sentence."""
    status, answer = ask(tiny, path, LONG, model="corral-tiny", stream=is_stream)
    assert status == 400
    error = answer["error"]
    assert error["code"] == "context_length_exceeded"
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("This model's maximum context length is 2048 tokens. However, ")


def test_a_prompt_that_is_too_long_for_others(tiny: Server) -> None:
    """Anthropic's words, and the engine's without its JSON."""
    status, answer = ask(tiny, "/v1/messages", LONG, model="corral-tiny")
    assert status == 400
    assert answer["error"]["message"].startswith("prompt is too long: ")
    assert answer["error"]["message"].endswith(" tokens > 2048 maximum")
    status, answer = ask(tiny, "/api/chat", LONG, model="corral-tiny")
    assert status == 400
    assert answer["error"].startswith("request (")


def test_errors_of_the_engine_are_sentences(script: Server) -> None:
    """A picture for a model that has no eyes, on each surface."""
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}}
    source = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": pixel}}
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{pixel}"}
    for path, members in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [url]}]}),
        ("/v1/messages", {"messages": [{"role": "user", "content": [source]}]}),
        ("/v1/responses", {"input": [{"role": "user", "content": [image]}]}),
        ("/api/chat", {"messages": [{"role": "user", "content": "8", "images": [pixel]}]}),
        ("/api/generate", {"images": [pixel]}),
    ):
        status, answer = ask(script, path, **members)
        error = answer["error"]
        message = error if isinstance(error, str) else error["message"]
        assert status == 400, path
        assert message == "Multimodal data provided, but model does not support multimodal requests.", path


def test_ids_are_never_the_same(script: Server) -> None:
    """As long as the numbers of responses, and digits as Ollama's."""
    for path, prefix in (
        ("/v1/completions", "cmpl-"),
        ("/v1/chat/completions", "chatcmpl-"),
        ("/v1/responses", "resp_"),
    ):
        ids = {ask(script, path, "9")[1]["id"] for _ in range(20)}
        assert len(ids) == 20
        assert all(each.removeprefix(prefix).isdigit() and len(each) > 24 for each in ids)


def test_content_is_always_a_list(script: Server) -> None:
    """Also where the model said nothing, or was only loaded."""
    for digit in ("0", ""):
        _, answer = ask(script, "/v1/messages", digit)
        assert answer["content"] == []
    status, data = ask(script, "/v1/responses", "0", stream=True)
    assert status == 200
    assert events(data)[-1]["response"]["output"] == []


def test_answers_that_were_cut(script: Server) -> None:
    """`incomplete`, with the reason, whole and streamed."""
    _, answer = ask(script, "/v1/responses", max_output_tokens=2)
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["output"][0]["status"] == "incomplete"
    _, data = ask(script, "/v1/responses", max_output_tokens=2, stream=True)
    last = events(data)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_the_order_of_reasoning_events(tiny: Server) -> None:
    """As OpenAI's: a part of the summary is opened, filled, closed; numbers without gaps."""
    _, data = ask(tiny, "/v1/responses", "What is 2+3?", model="corral-tiny", stream=True, temperature=0)
    found = events(data)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    kinds = [event["type"].removeprefix("response.") for event in found]
    runs = [kind for i, kind in enumerate(kinds) if i == 0 or kind != kinds[i - 1]]
    start = runs.index("output_item.added")
    assert runs[start : start + 6] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    text = "".join(event["delta"] for event in found if event["type"].endswith("summary_text.delta"))
    (done,) = (event for event in found if event["type"].endswith("summary_part.done"))
    assert done["part"] == {"type": "summary_text", "text": text}
    item = next(event["item"] for event in found if event["type"] == "response.output_item.done")
    assert done["item_id"] == item["id"]
    assert item["summary"] == [done["part"]]


def test_reasoning_that_was_cut(tiny: Server) -> None:
    """An empty message follows it in a whole answer, as in Ollama's."""
    _, answer = ask(tiny, "/v1/responses", "What is 2+3?", model="corral-tiny", max_output_tokens=3)
    assert [item["type"] for item in answer["output"]] == ["reasoning", "message"]
    assert answer["output"][1]["content"][0]["text"] == ""
    assert answer["status"] == "incomplete"


def entries_of(path: str, answer: Any) -> tuple[str, list[dict[str, Any]]]:
    """The text of an answer, and the log probabilities of its tokens."""
    if path == "/v1/responses":
        (part,) = answer["output"][0]["content"]
        return part["text"], part["logprobs"]
    if path == "/v1/chat/completions":
        (choice,) = answer["choices"]
        return choice["message"]["content"], choice["logprobs"]["content"]
    return answer.get("response") or answer["message"]["content"], answer["logprobs"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/api/chat", "/api/generate"])
def test_log_probabilities_of_parts_of_characters(script: Server, path: str) -> None:
    """An entry for each token, and their bytes are the text. 7 is full of characters that tokens share."""
    members: dict[str, Any] = {"top_logprobs": 2, "logprobs": True}
    if path == "/v1/responses":
        members = {"top_logprobs": 2, "include": ["message.output_text.logprobs"]}
    _, answer = ask(script, path, "7", **members)
    text, entries = entries_of(path, answer)
    assert text == 'Grüße 世界 <b>&</b> "so" \\\n\ttab 😀'
    assert bytes(byte for entry in entries for byte in entry["bytes"]).decode() == text
    assert len(entries) == 9
    assert [bytes(entry["bytes"]) for entry in entries[:4]] == [
        b"Gr\xc3",
        b"\xbc\xc3\x9fe",
        b" \xe4\xb8\x96\xe7",
        b"\x95\x8c",
    ]
    assert all("\ufffd" not in rival["token"] for entry in entries for rival in entry["top_logprobs"])


def test_streamed_log_probabilities(script: Server) -> None:
    """The same entries, with the text that they make."""
    _, data = ask(script, "/v1/chat/completions", "7", logprobs=True, stream=True)
    count = 0
    for event in events(data):
        (choice,) = event["choices"]
        if entries := (choice.get("logprobs") or {}).get("content"):
            assert (
                bytes(b for entry in entries for b in entry["bytes"]).decode() == choice["delta"]["content"]
            )
            count += len(entries)
    assert count == 9


def test_log_probabilities_of_text_that_was_held_back(script: Server) -> None:
    """A stop sequence could have begun."""
    _, answer = ask(script, "/v1/chat/completions", logprobs=True, stop=[" two HALX", " four"])
    (choice,) = answer["choices"]
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["one", " two", " HALT", " three"]
    assert choice["message"]["content"] == "one two HALT three"


def test_legacy_log_probabilities(script: Server) -> None:
    """Lists side by side; offsets count characters."""
    _, answer = ask(script, "/v1/completions", "7", logprobs=1)
    (choice,) = answer["choices"]
    found = choice["logprobs"]
    assert found["tokens"][:4] == [
        "bytes:\\x47\\x72\\xc3",
        "bytes:\\xbc\\xc3\\x9f\\x65",
        "bytes:\\x20\\xe4\\xb8\\x96\\xe7",
        "bytes:\\x95\\x8c",
    ]
    assert found["text_offset"] == [0, 2, 5, 7, 8, 17, 24, 29, 30]
    assert len(found["token_logprobs"]) == len(found["top_logprobs"]) == 9


def test_the_cached_count(script: Server) -> None:
    """How much of a prompt was there already; left out where nothing was."""
    _, first = ask(script, "/api/generate", "a question 8", keep_alive="1m", raw=True)
    _, second = ask(script, "/api/generate", "a question 8", raw=True)
    assert first.get("prompt_eval_cached_count", 0) < first["prompt_eval_count"]
    assert 0 < second["prompt_eval_cached_count"] < second["prompt_eval_count"] == first["prompt_eval_count"]
    _, seeded = ask(script, "/api/generate", "a question 8", raw=True, options={"seed": 1})
    assert seeded["prompt_eval_cached_count"] == second["prompt_eval_cached_count"]
    _, whole = ask(script, "/api/generate", "a question 8", raw=True, options={"cache_prompt": False})
    assert "prompt_eval_cached_count" not in whole
    _, loaded = ask(script, "/api/generate", "")
    assert "prompt_eval_cached_count" not in loaded


@pytest.mark.parametrize("keep_alive", ["-1", "0", "300", "+5", "1.5", -1, "5m", "-1s"])
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/v1/chat/completions", "/v1/messages"])
def test_keep_alive_as_text(script: Server, path: str, keep_alive: Any) -> None:
    """Numbers are seconds, however they are written."""
    status, answer = ask(script, path, "9", keep_alive=keep_alive)
    assert status == 200, answer


@pytest.mark.parametrize("keep_alive", ["\u0966s", "five", "", "1 5", "5\u0660", "1e3", "0x10"])
def test_keep_alive_that_is_no_duration(script: Server, keep_alive: str) -> None:
    """Digits are those of ASCII."""
    status, answer = ask(script, "/api/generate", "9", keep_alive=keep_alive)
    assert status == 400
    assert answer["error"].startswith("time: ")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"model": "", "input": 5}, 400, "model is required"),
        ({"model": "a b", "input": 5}, 400, "invalid model name"),
        ({"model": "big:cloud", "input": 5}, 403, "ollama cloud is disabled: remote model is unavailable"),
        ({"model": "nobody", "input": 5}, 400, "invalid input type"),
        ({"model": "nobody", "input": ["a", 5]}, 400, "invalid input type"),
        ({"model": "nobody", "input": "a"}, 404, 'model "nobody" not found, try pulling it first'),
    ],
)
def test_the_order_of_what_embed_checks(server: Server, body: Any, status: int, text: str) -> None:
    """The name, then the input, then whether there is such a model."""
    for path in ("/api/embed", "/v1/embeddings"):
        got, data = server.request("POST", path, body)
        error = json.loads(data)["error"]
        assert (got, error if isinstance(error, str) else error["message"]) == (status, text), path


def test_names_in_errors(server: Server) -> None:
    """Parts of a name have the spelling that they have in the store; quotes are escaped."""
    status, data = server.request("POST", "/api/show", {"model": "Nope:LATEST"})
    assert (status, json.loads(data)) == (404, {"error": "model 'Nope:latest' not found"})
    for path, body, text in (
        ("/api/copy", {"source": 'a"\n', "destination": "b"}, 'source "a\\"\\n" is invalid'),
        ("/api/copy", {"source": "say", "destination": "b\\ "}, 'destination "b\\\\ " is invalid'),
        ("/v1/responses", {"model": "m", "input": "x", "reasoning": {"effort": 'a"'}}, "invalid reasoning"),
    ):
        status, data = server.request("POST", path, body)
        error = json.loads(data)["error"]
        assert status == 400
        assert (error if isinstance(error, str) else error["message"]).startswith(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a//b", "a/!MISSING!/b:latest"),
        ("a:", "registry.ollama.ai/library/a:!MISSING!"),
        ("/a", "registry.ollama.ai/!MISSING!/a:latest"),
        ("a b", "registry.ollama.ai/library/a b:latest"),
        ("a/b/c/d", "a/b/c/d:latest"),
    ],
)
def test_names_that_cannot_be_pushed(server: Server, name: str, text: str) -> None:
    """Whole, with a mark for each part that is promised and missing."""
    status, data = server.request("POST", "/api/push", {"model": name, "stream": False})
    assert (status, json.loads(data)) == (500, {"error": f"unqualified name: {text}"})


@pytest.mark.parametrize(
    ("method", "path", "status", "location"),
    [
        ("GET", "/api/tags//", 307, "/api/tags/"),
        ("GET", "/api//tags", 307, "/api/tags"),
        ("POST", "/api//chat//", 307, "/api/chat/"),
        ("GET", "//nowhere", 307, "/nowhere"),
        ("GET", "/api/./tags?a=b", 307, "/api/tags?a=b"),
        ("GET", "/api/x/../tags", 307, "/api/tags"),
        ("GET", "/api/tags/", 301, "/api/tags"),
        ("GET", "/%C3%A9//x", 307, "/%C3%A9/x"),
        ("GET", "/api/..%2ftags", 404, None),
    ],
)
def test_redirects(server: Server, method: str, path: str, status: int, location: str | None) -> None:
    """To the path without doubled slashes and dots, known or not; then to the one without a last slash."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest(method, path)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("location")) == (status, location)
    connection.close()


def test_who_switched_the_cloud_off(start_server: Callable[..., Server]) -> None:
    """The variable for it, where it is set."""
    assert start_server().get("/api/status") == {"cloud": {"disabled": True, "source": "config"}}
    status = start_server(OLLAMA_NO_CLOUD="1").get("/api/status")
    assert status == {"cloud": {"disabled": True, "source": "env"}}
