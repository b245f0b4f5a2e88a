"""What a request binds a reply to, on models that know nothing: tool_choice, tools with a schema, GBNF text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from tests.conftest import Server

JSON_TEMPLATE = (
    "{{ range .Tools }}{{ . }}{{ end }}{{ range .Messages }}{{ .Role }}: {{ .Content }}"
    '{{ if .ToolCalls }}{"name": "{{ .Name }}", "parameters": {{ .Arguments }}}{{ end }}\n{{ end }}'
)
TAG_TEMPLATE = (
    "{{ range .Tools }}{{ . }}{{ end }}{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}"
    "{{ .Content }}{{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}{{ . }}{{ end }}</tool_call>{{ end }}{{ end }}"
)
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Rome", "Oslo"]},
        "days": {"type": "integer"},
        "exact": {"type": "boolean"},
    },
    "required": ["city", "days"],
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}},
]
MESSAGES = [{"role": "user", "content": "hello"}]
ANSWER = {
    "type": "object",
    "properties": {"answer": {"type": "string", "pattern": "^[a-z ]{0,12}$"}},
    "required": ["answer"],
    "additionalProperties": False,
}
PARSERS = [
    "qwen3-coder",
    "harmony",
    "olmo3",
    "deepseek3",
    "gemma4",
    "glm-4.7",
    "lfm2",
    "cohere",
    "ministral",
    "glimmer",
]
MODELS = ["tags", "json", "jinja", *PARSERS]


@pytest.fixture(scope="module")
def models(process: None) -> Iterator[Server]:
    server = Server()
    try:
        server.create("tags", "tiny", template=TAG_TEMPLATE)
        server.create("json", "tiny", template=JSON_TEMPLATE)
        server.create("jinja", "jinja-tools")
        server.create("thinker", "say", template=TAG_TEMPLATE, parameters={"temperature": 0})
        for parser in PARSERS:
            server.create(parser, "tiny", template=TAG_TEMPLATE, parser=parser)
        yield server
    finally:
        server.close()


def chat(
    server: Server, model: str, seed: int = 0, temperature: float = 1, limit: int = 300, **fields: Any
) -> dict[str, Any]:
    options = {
        "temperature": temperature,
        "top_k": 0,
        "top_p": 1.0,
        "seed": seed,
        "num_ctx": 4096,
        "num_predict": limit,
    }
    body = {"model": model, "messages": MESSAGES, "stream": False, "options": options, **fields}
    answer: dict[str, Any] = server.post("/api/chat", body)
    return answer


@pytest.mark.parametrize("model", MODELS)
def test_a_required_call_is_made(models: Server, model: str) -> None:
    """Random weights call a tool because nothing else is allowed; each form is read by its parser."""
    for seed in range(3):
        answer = chat(models, model, seed, tools=TOOLS, tool_choice="required", think=False)
        if answer["done_reason"] == "length":
            continue  # the text of an argument went on to the end
        message = answer["message"]
        assert message["content"].strip() == ""
        assert {call["function"]["name"] for call in message["tool_calls"]} <= {"get_weather", "clock"}


@pytest.mark.parametrize("model", MODELS)
def test_a_named_tool_is_the_one_that_is_called(models: Server, model: str) -> None:
    """Whichever form the choice has; streamed too."""
    choice = {"type": "function", "function": {"name": "clock"}}
    for form in (choice, "clock"):
        answer = chat(models, model, 1, tools=TOOLS, tool_choice=form, think=False)
        (call,) = answer["message"]["tool_calls"]
        assert (call["function"]["name"], call["function"]["arguments"]) == ("clock", {})
    body = {"model": model, "messages": MESSAGES, "tools": TOOLS, "tool_choice": choice, "think": False}
    calls = [
        call for part in models.stream("/api/chat", body) for call in part["message"].get("tool_calls", ())
    ]
    assert [call["function"]["name"] for call in calls] == ["clock"]


def test_a_call_may_follow_thinking(models: Server) -> None:
    """With thinking on, a model that thinks does so first; then it has to call, whatever it wanted to say."""
    said = [{"role": "user", "content": "now D"}]
    free = models.post("/api/chat", {"model": "thinker", "messages": said, "stream": False, "think": True})
    assert free["message"]["thinking"]
    assert free["message"]["content"]
    body = {"model": "thinker", "messages": said, "tools": TOOLS, "tool_choice": "clock", "think": True}
    answer = models.post("/api/chat", {**body, "stream": False})
    assert answer["message"]["thinking"] == free["message"]["thinking"]
    assert answer["message"]["content"] == ""
    assert [call["function"]["name"] for call in answer["message"]["tool_calls"]] == ["clock"]


@pytest.mark.parametrize("model", ["qwen3-coder", "tags", "json"])
def test_none_makes_no_call(models: Server, model: str) -> None:
    """The tools are not shown, and a call cannot begin."""
    answer = chat(models, model, tools=TOOLS, tool_choice="none", think=False, options={"num_predict": 200})
    assert "tool_calls" not in answer["message"]


@pytest.mark.parametrize("model", ["tags", "json", "jinja", "qwen3-coder", "cohere"])
def test_tools_and_a_schema_work_together(models: Server, model: str) -> None:
    """A reply is a call or an answer of the schema, and both come up."""
    kinds = set()
    for seed in range(24):
        answer = chat(models, model, seed, 40, tools=TOOLS, format=ANSWER, think=False)
        if answer["done_reason"] == "length":
            continue
        message = answer["message"]
        kinds.add("call" if message.get("tool_calls") else "answer")
        if message.get("tool_calls"):
            assert message["content"].strip() == ""
        else:
            jsonschema.validate(json.loads(message["content"]), ANSWER)
        if len(kinds) == 2:
            break
    assert kinds == {"call", "answer"}


@pytest.mark.parametrize(
    "model", ["tags", "deepseek3", "gemma4", "glm-4.7", "cohere", "ministral", "harmony", "glimmer"]
)
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["answer", "tools"])
def test_a_schema_holds_after_thinking(
    models: Server, model: str, tools: list[dict[str, Any]] | None
) -> None:
    """Whatever random weights say before it, or instead of it: the thinking is theirs, the answer is not."""
    count = 0
    for seed in range(4):
        fields: dict[str, Any] = {} if tools is None else {"tools": tools}
        answer = chat(models, model, seed, 60, format=ANSWER, think=True, **fields)
        message = answer["message"]
        if answer["done_reason"] == "length":
            continue  # the text of an argument or of the answer went on to the end
        count += 1
        if not message.get("tool_calls"):
            jsonschema.validate(json.loads(message["content"]), ANSWER)
    assert count


def test_the_answer_after_thinking_is_bound_in_one_run(models: Server) -> None:
    """The model thinks what it would think anyway. The answer is that of the grammar, and the counts are of both."""
    said = {"model": "thinker", "messages": [{"role": "user", "content": "now D"}], "stream": False}
    free = models.post("/api/chat", {**said, "think": True})
    assert free["message"]["thinking"]
    for bound, answer in (
        ({"format": {"const": "x"}}, '"x"'),
        ({"grammar": 'root ::= "\\n\\n no"'}, "\n\n no"),
    ):
        found = models.post("/api/chat", {**said, **bound, "think": True})
        assert found["message"]["thinking"] == free["message"]["thinking"]
        assert found["message"]["content"] == answer
        assert found["prompt_eval_count"] == free["prompt_eval_count"]
        assert found["eval_count"] > len(free["message"]["thinking"].split())


def test_num_predict_is_for_thinking_and_for_the_answer(models: Server) -> None:
    """Each has the whole of it; a reply that needs more of it for its thinking is answered all the same."""
    said = {"model": "thinker", "messages": [{"role": "user", "content": "now D"}], "stream": False}
    free = models.post("/api/chat", {**said, "think": True})
    thought = free["message"]["thinking"]
    schema = {"type": "string", "minLength": 400}
    limit = len(thought) + 20  # and the tags
    body = {**said, "think": True, "format": schema, "options": {"num_predict": limit}}
    found = models.post("/api/chat", body)
    assert found["message"]["thinking"] == thought
    assert found["done_reason"] == "length"
    assert limit < found["eval_count"] <= 2 * limit
    assert found["eval_duration"] > 0
    short = models.post("/api/chat", {**body, "format": {"const": 1}, "options": {"num_predict": 3}})
    assert (short["message"]["content"], short["done_reason"]) == ("1", "stop")
    assert thought.startswith(short["message"]["thinking"])
    assert short["prompt_eval_count"] == free["prompt_eval_count"]


def test_grammar_text_binds(models: Server) -> None:
    """GBNF as it is, on both routes."""
    grammar = 'root ::= "yes " [0-9]{3} | "no"'
    for seed in range(5):
        body = {"model": "tags", "grammar": grammar, "options": {"seed": seed, "temperature": 1}}
        said = models.post("/api/generate", {**body, "prompt": "x", "stream": False})["response"]
        assert said == "no" or (said[:4] == "yes " and said[4:].isdigit())
        talk = models.post("/api/chat", {**body, "messages": MESSAGES, "stream": False, "think": False})
        assert talk["message"]["content"][:2] in ("no", "ye")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tool_choice": "required"}, "the request has no tools"),
        ({"tools": TOOLS, "tool_choice": "nope"}, "tool_choice names 'nope', which is not among the tools"),
        ({"tools": TOOLS, "tool_choice": 5}, "tool_choice must be"),
        ({"tools": TOOLS, "tool_choice": "required", "grammar": 'root ::= "a"'}, "cannot be combined"),
        ({"grammar": "rot ::= x"}, "no rule named root"),
        ({"grammar": "root ::= nope"}, 'invalid grammar: the rule "root" refers to "nope", which is not there'),
        ({"grammar": 'root ::= root "a" | "a"'}, "invalid grammar: the rule root begins with itself"),
        ({"grammar": 'root ::= ("a" | [0-9]{1,4}){2000}'}, "invalid grammar: the rule root repeats too much"),
        ({"grammar": 'root ::= "x" root "y" | "x" root "z" | "x"'}, "invalid grammar: it is too ambiguous"),
        ({"grammar": '%llguidance {}\nroot ::= "a"'}, "invalid grammar: line 1"),
        ({"format": {"type": "nope"}, "format_strict": True}, "at #: 'type' is not supported"),
        ({"grammar": 'root ::= "\\x00"'}, "no model can write"),
        ({"grammar": 'root ::= "a"', "format": "json"}, "grammar and format cannot be combined"),
        ({"format": {"type": "integer", "minimum": 5, "maximum": 4}}, "at #: no integer is within the bounds"),
        ({"format": {"$ref": "http://example.com/x"}}, "does not point into the same schema"),
    ],
)  # fmt: skip
def test_what_cannot_bind_is_refused(models: Server, fields: dict[str, Any], text: str) -> None:
    """400 with the reason, and the model still serves."""
    status, data = models.request("POST", "/api/chat", {"model": "tags", "messages": MESSAGES, **fields})
    assert (status, text in json.loads(data)["error"]) == (400, True), data
    assert models.post("/api/chat", {"model": "tags", "stream": False})["done"]


def test_a_schema_binds_a_hundred_times(start_server: Callable[..., Server]) -> None:
    """corral-tiny, at temperature 0 and 1, through four slots at a time."""
    from concurrent.futures import ThreadPoolExecutor

    server = start_server()
    server.post("/api/pull", {"model": "corral-tiny", "stream": False})
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[A-Z][a-zé]{1,12}$"},
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "born": {"type": "string", "format": "date"},
            "tags": {
                "type": "array",
                "items": {"enum": ["red", "green", "blue"]},
                "uniqueItems": True,
                "maxItems": 2,
            },
            "boss": {"anyOf": [{"$ref": "#/$defs/person"}, {"type": "null"}]},
        },
        "required": ["name", "age", "score", "born", "tags", "boss"],
        "$defs": {
            "person": {
                "type": "object",
                "properties": {"n": {"type": "string", "maxLength": 8}},
                "required": ["n"],
            }
        },
    }
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    validator = jsonschema.Draft202012Validator(schema, format_checker=checker)

    def ask(number: int) -> str:
        body = {
            "model": "corral-tiny",
            "messages": [{"role": "user", "content": f"Tell me about person {number}."}],
            "format": schema,
            "stream": False,
            "think": False,
            "options": {"temperature": number % 2, "seed": number, "num_predict": 500},
        }
        content: str = server.post("/api/chat", body)["message"]["content"]
        return content

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(100)))
    for answer in answers:
        validator.validate(json.loads(answer))
    assert len(set(answers)) > 30


# Forced calls are held to the whole schema of the tool, where the family's form has a place for it.
WHOLE = {
    "$defs": {
        "place": {"type": "object", "properties": {"name": {"enum": ["Rome", "Oslo"]}}, "required": ["name"]}
    },
    "type": "object",
    "properties": {
        "where": {"$ref": "#/$defs/place"},
        "code": {"type": "string", "pattern": "^[0-9]{3}$"},
        "unit": {"const": "c"},
        "level": {"type": "integer", "minimum": 3, "maximum": 5},
        "either": {"oneOf": [{"type": "boolean"}, {"type": "integer", "enum": [7]}]},
        "both": {"allOf": [{"type": "string", "pattern": "^[a-z]*$"}, {"maxLength": 2}]},
    },
    "required": ["where", "code", "unit", "level", "either", "both"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("model", MODELS)
def test_a_forced_call_has_the_whole_schema(models: Server, model: str) -> None:
    """References, constants, patterns, bounds, alternatives, on every form of a call."""
    tools = [{"type": "function", "function": {"name": "go", "parameters": WHOLE}}]
    count = 0
    for seed in range(4):
        answer = chat(models, model, seed, limit=900, tools=tools, tool_choice="go", think=False)
        for call in answer["message"].get("tool_calls", ()) if answer["done_reason"] != "length" else ():
            jsonschema.validate(call["function"]["arguments"], WHOLE)
            count += 1
    assert count


@pytest.mark.parametrize("model", MODELS)
def test_a_forced_call_of_an_open_object(models: Server, model: str) -> None:
    """Members of any name, but at least one."""
    schema = {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z]{1,4}$"},
        "additionalProperties": {"type": "string", "pattern": "^[a-z]{1,3}$"},
        "minProperties": 1,
        "maxProperties": 2,
    }
    tools = [{"type": "function", "function": {"name": "note", "parameters": schema}}]
    count = 0
    for seed in range(6):
        answer = chat(models, model, seed, tools=tools, tool_choice="note", think=False)
        for call in answer["message"].get("tool_calls", ()) if answer["done_reason"] != "length" else ():
            jsonschema.validate(call["function"]["arguments"], schema)
            count += 1
    assert count


@pytest.mark.parametrize("model", ["tags", "qwen3-coder", "lfm2"])
def test_a_strict_call_is_bound(models: Server, model: str) -> None:
    """A tool that says so is held to its schema when the model calls it by itself; it may answer in words too."""
    function = {"name": "go", "parameters": WHOLE, "strict": True}
    tools = [{"type": "function", "function": function}]
    kinds = set()
    for seed in range(12):
        answer = chat(
            models, model, seed, tools=tools, think=False, options={"num_predict": 120, "seed": seed}
        )
        for call in answer["message"].get("tool_calls", ()):
            jsonschema.validate(call["function"]["arguments"], WHOLE)
        kinds.add("call" if answer["message"].get("tool_calls") else "words")
    assert "words" in kinds


UNHELD = {
    "type": "object",
    "properties": {
        "slug": {"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$", "maxLength": 12},
        "words": {
            "type": "array",
            "items": {"type": "string", "maxLength": 3},
            "uniqueItems": True,
            "maxItems": 3,
        },
        "step": {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 9},
    },
    "required": ["slug", "words", "step"],
    "additionalProperties": False,
}
PLACE = "#/properties/words/uniqueItems"


def test_what_is_not_held_is_named(models: Server) -> None:
    """In the last object and a header of the native API, streamed and not; the rest holds."""
    body = {"model": "tags", "format": UNHELD, "options": {"seed": 1, "temperature": 1}}
    for path, fields in (
        ("/api/generate", {"prompt": "x"}),
        ("/api/chat", {"messages": MESSAGES, "think": False}),
    ):
        whole = models.post(path, {**body, **fields, "stream": False})
        text = whole.get("response") or whole["message"]["content"]
        jsonschema.validate(json.loads(text), {**UNHELD, "uniqueItems": False})
        assert whole["format_unenforced"] == [PLACE]
        *parts, last = models.stream(path, {**body, **fields})
        assert last["format_unenforced"] == [PLACE]
        assert not any("format_unenforced" in part for part in parts)
        held = {**UNHELD, "properties": {"slug": UNHELD["properties"]["slug"]}, "required": ["slug"]}  # type: ignore[index]
        assert "format_unenforced" not in models.post(
            path, {**body, **fields, "format": held, "stream": False}
        )


def test_what_is_not_held_is_named_on_other_surfaces(models: Server) -> None:
    """Chat completions, responses and messages; `strict` of OpenAI is no reason to refuse, `format_strict` is."""
    named = {"name": "x", "schema": UNHELD, "strict": True}
    chats = {
        "model": "tags",
        "messages": MESSAGES,
        "reasoning_effort": "none",
        "max_tokens": 200,
        "response_format": {"type": "json_schema", "json_schema": named},
    }
    responses = {
        "model": "tags",
        "input": "x",
        "reasoning": {"effort": "none"},
        "text": {"format": {"type": "json_schema", **named}},
    }
    messages = {
        "model": "tags",
        "messages": MESSAGES,
        "max_tokens": 200,
        "output_config": {"format": {"type": "json_schema", "schema": UNHELD}},
    }
    for path, body in (
        ("/v1/chat/completions", chats),
        ("/v1/responses", responses),
        ("/v1/messages", messages),
    ):
        status, data = models.request("POST", path, body)
        assert status == 200, data
        assert json.loads(data)["format_unenforced"] == [PLACE], path
        status, data = models.request("POST", path, {**body, "stream": True})
        assert (status, data.count(b'"format_unenforced":["' + PLACE.encode() + b'"]')) == (200, 1), (
            path,
            data,
        )
        status, data = models.request("POST", path, {**body, "format_strict": True})
        assert (status, b"at #/properties/words: 'uniqueItems' is not supported" in data) == (400, True), data


def test_a_header_names_what_is_not_held(models: Server) -> None:
    """For programs that see no more of an answer than a type of their own."""
    import urllib.request

    body = json.dumps({"model": "tags", "prompt": "x", "stream": False, "format": UNHELD}).encode()
    request = urllib.request.Request(models.base + "/api/generate", data=body)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.loads(answer.headers["X-Corral-Format-Unenforced"]) == [PLACE]


@pytest.mark.parametrize("limit", [1, 3, 200])
def test_thinking_without_an_answer_is_followed_by_one(models: Server, limit: int) -> None:
    """JSON was asked for: it comes, though thinking took all of `num_predict`, or was all that the model said."""
    said = [{"role": "user", "content": "now D"}]
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    body = {"model": "thinker", "messages": said, "format": schema, "think": True}
    whole = models.post("/api/chat", {**body, "stream": False, "options": {"num_predict": limit + 60}})
    assert json.loads(whole["message"]["content"])["a"] in (1, 2)
    assert whole["message"]["thinking"]
    parts = models.stream("/api/chat", {**body, "options": {"num_predict": 60}})
    assert json.loads("".join(part["message"]["content"] for part in parts))["a"] in (1, 2)
