"""The Jinja path against the reference implementation of chat templates, on templates of well-known families."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from corral.chat.templates.jinja import ChatTemplate
from corral.errors import TemplateError, TemplateRaisedError
from corral.types import Message, Think, Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty
from tests.chat.templates.public_templates import PARTS_TEMPLATES, TEMPLATES
from tests.extras import need

Reference = Callable[..., Any]

BOS, EOS = "<s>", "</s>"
CALL = ToolCall("get_weather", {"city": 'Köln "<b>"', "days": 3, "exact": True, "near": None}, id="call_1234")
SECOND = ToolCall("get_weather", {"city": "Oslo"}, id="call_5678")

PLAIN = [Message("user", "Hi  \n")]
TALK = [
    Message("system", "Be brief — très bref."),
    Message("user", "Who are you? 🦙"),
    Message("assistant", "<think>\nhm\n</think>\n\nA model."),
    Message("user", "And <b>what</b> for?"),
]
USED_TOOL = [
    *TALK,
    Message("assistant", "", tool_calls=(CALL,)),
    Message("tool", "sunny", tool_name="get_weather", tool_call_id="call_1234"),
]
USED_TWO = [
    Message("user", "Weather?"),
    Message("assistant", "I look.", tool_calls=(CALL, SECOND)),
    Message("tool", "sunny", tool_name="get_weather", tool_call_id="call_1234"),
    Message("tool", "snow", tool_name="get_weather", tool_call_id="call_5678"),
    Message("user", "Thanks!"),
]
CONVERSATIONS = {
    "plain": PLAIN,
    "without system": TALK[1:],
    "with system": TALK,
    "tool": USED_TOOL,
    "two tools": USED_TWO,
}
PROPERTIES = {
    "city": ToolProperty(types=("string",), description='A "city" <b>'),
    "days": ToolProperty(types=("integer", "null")),
    "list": ToolProperty(types=("array",), items={"type": "string"}),
}
TOOLS = (
    Tool(
        "function",
        None,
        ToolFunction(
            "get_weather",
            "Get <the> weather",
            ToolParameters("object", required=("city",), properties=PROPERTIES),
        ),
    ),
    Tool("function", None, ToolFunction("now", "The time", ToolParameters("object", properties={}))),
)
# The same tools as a client would send them.
TOOLS_JSON: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get <the> weather",
            "parameters": {
                "type": "object",
                "required": ["city"],
                "properties": {
                    "city": {"type": "string", "description": 'A "city" <b>'},
                    "days": {"type": ["integer", "null"]},
                    "list": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "now",
            "description": "The time",
            "parameters": {"type": "object", "properties": {}},
        },
    },
]


@pytest.fixture(scope="module")
def render_jinja_template() -> Reference:
    """What transformers renders with."""
    need("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template

    return render_jinja_template  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _no_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here is told what templates write, not how fast this machine is."""
    monkeypatch.setattr("corral.chat.templates.sandbox._MAX_CPU_S", 1000.0)


def as_json(message: Message) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        value["tool_calls"] = [
            {
                "type": "function",
                "function": {"name": call.name, "arguments": dict(call.arguments)},
                "id": call.id,
            }
            for call in message.tool_calls
        ]
    if message.tool_name:
        value["name"] = message.tool_name
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    return value


def expected(reference: Reference, source: str, messages: list[Message], tools: bool, think: Think) -> str:
    extra = {} if think is None else {"enable_thinking": bool(think)}
    rendered, _ = reference(
        conversations=[[as_json(message) for message in messages]],
        tools=TOOLS_JSON if tools else None,
        chat_template=source,
        add_generation_prompt=True,
        bos_token=BOS,
        eos_token=EOS,
        date_string=datetime.date.today().strftime("%d %b %Y"),
        **extra,
    )
    text: str = rendered[0]
    return text


@pytest.mark.slow
@pytest.mark.parametrize("think", [None, True, False])
@pytest.mark.parametrize("tools", [False, True], ids=["no tools", "tools"])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_equal_to_transformers(
    render_jinja_template: Reference, name: str, conversation: str, tools: bool, think: Think
) -> None:
    """The same text, or both refuse; but for system texts given to users."""
    source, messages = TEMPLATES[name], CONVERSATIONS[conversation]
    template = ChatTemplate.parse(source)
    try:
        wanted = expected(render_jinja_template, source, messages, tools, think)
    except Exception as refusal:
        if "system" in str(refusal).lower() or "Only user" in str(refusal):
            return  # a system text goes to the first user then, as the engine does it
        if "One call at a time" in str(refusal):
            return  # an answer for each call then, which neither transformers nor the engine tries
        with pytest.raises(TemplateError):
            template.render(messages, TOOLS if tools else (), think=think, bos_token=BOS, eos_token=EOS)
        return
    if messages[0].role == "system" and messages[0].content not in wanted:
        return
    text = template.render(messages, TOOLS if tools else (), think=think, bos_token=BOS, eos_token=EOS)
    assert text == wanted


@pytest.mark.parametrize("conversation", ["plain", "without system", "with system"])
@pytest.mark.parametrize("name", PARTS_TEMPLATES)
def test_contents_in_parts(render_jinja_template: Reference, name: str, conversation: str) -> None:
    """Templates that read lists of parts get them; what they are given as text would not be shown."""
    source, messages = PARTS_TEMPLATES[name], CONVERSATIONS[conversation]
    if name == "llama-guard":  # shows no system text, so the first user gets it
        messages = [
            replace(m, content=f"{TALK[0].content}\n{m.content}") if m is TALK[1] else m for m in messages
        ]
        messages = messages if messages[0].role == "user" else [messages[1], *messages[2:]]
        if conversation == "without system":
            messages = CONVERSATIONS[conversation]
    sent = [as_json(message) for message in messages]
    for value in sent:
        if name != "mixed" or value["role"] == "user":
            value["content"] = [{"type": "text", "text": value["content"]}]
    rendered, _ = render_jinja_template(
        conversations=[sent], chat_template=source, add_generation_prompt=True, bos_token=BOS, eos_token=EOS
    )
    text = ChatTemplate.parse(source).render(CONVERSATIONS[conversation], bos_token=BOS, eos_token=EOS)
    assert text == rendered[0]
    assert all(message.content.strip() in text for message in messages if message.content)


def test_templates_of_one_call_a_turn() -> None:
    """An answer with two calls goes in as two, each with its result; a template that refuses those too fails."""
    text = ChatTemplate.parse(TEMPLATES["llama3.1"]).render(USED_TWO, TOOLS)
    places = [text.index(part) for part in ("K\u00f6ln", "sunny", "Oslo", "snow", "Thanks!")]
    assert places == sorted(places) and text.count("I look.") <= 1
    swapped = [*USED_TWO[:2], USED_TWO[3], USED_TWO[2], USED_TWO[4]]
    text = ChatTemplate.parse(TEMPLATES["llama3.1"]).render(swapped, TOOLS)
    places = [text.index(part) for part in ("Oslo", "snow", "K\u00f6ln", "sunny", "Thanks!")]
    assert places == sorted(places)
    with pytest.raises(TemplateRaisedError, match="never"):
        ChatTemplate.parse("{{ raise_exception('never') }}").render(USED_TWO, TOOLS)


def test_a_beginning_of_the_reply_after_parts() -> None:
    """A last answer is text of the prompt, whatever the form of contents."""
    messages = [*PLAIN, Message("assistant", "Well")]
    text = ChatTemplate.parse(PARTS_TEMPLATES["smolvlm"]).render(messages)
    assert text.endswith("Assistant:Well")


def test_a_form_is_tried_once() -> None:
    """Later conversations cost no more than one rendering each."""
    template = ChatTemplate(PARTS_TEMPLATES["smolvlm"])
    template.render(TALK)
    ran = []
    execute = template._execute
    template._execute = lambda *args, **kwargs: ran.append(1) or execute(*args, **kwargs)  # type: ignore[func-returns-value, method-assign]
    template.render(TALK)
    template.render(TALK)
    assert len(ran) == 2


def test_enough_is_compared(render_jinja_template: Reference) -> None:
    """The exceptions above are few: nearly every case compares texts."""
    compared = 0
    for source in TEMPLATES.values():
        for messages in CONVERSATIONS.values():
            for tools in (False, True):
                try:
                    compared += bool(expected(render_jinja_template, source, messages, tools, None))
                except Exception:
                    continue
    assert compared > 160
