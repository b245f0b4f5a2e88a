"""Cohere's Command: the tools section always, calls and results as JSON arrays, call ids numbered again from 0.

Prompts: the text of an answer that calls tools is not shown. The odd white space is what models were trained with.
Replies: blocks of thinking, text and actions between tags. An action whose JSON is broken gives the calls that can be
read one by one; the others are given back as text. Ollama: model/renderers/cohere.go, model/parsers/cohere.go.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from corral.chat.families.family import Family, Parser, Renderer, Sign
from corral.chat.grammar.rules import Rules, literal
from corral.chat.parsing.call_arguments import Arguments
from corral.chat.parsing.call_forms import CallForm, joined
from corral.chat.parsing.calls import is_in_value, read_calls
from corral.chat.parsing.events import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, is_run_end, is_run_start
from corral.types import Message, Think, Tool

BOS = "<BOS_TOKEN>"
OPEN_TURN, CLOSE_TURN = "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"
OPEN_THINK, CLOSE_THINK = THINK = ("<|START_THINKING|>", "<|END_THINKING|>")
OPEN_TEXT, CLOSE_TEXT = "<|START_TEXT|>", "<|END_TEXT|>"
OPEN_RESPONSE, CLOSE_RESPONSE = "<|START_RESPONSE|>", "<|END_RESPONSE|>"  # the same, in older templates
OPEN_ACTION, CLOSE_ACTION = "<|START_ACTION|>", "<|END_ACTION|>"


# --- prompts -----------------------------------------------------------------------------------------------

_ANSWER_ROLES = frozenset({"assistant", "chatbot"})


def _render(conversation: Conversation) -> str:
    """Render a conversation; thinking is on unless switched off."""
    messages = conversation.messages
    system = ""
    if messages and messages[0].role == "system":
        system, messages = messages[0].content, messages[1:]
    lead = f"{system}\n\n\n\n" if system else ""
    parts = [_text_turn("SYSTEM", lead + _tools_section(conversation.tools))]
    call_count = 0
    numbers: dict[str, int] = {}  # of the calls seen so far, by the client's id
    for i, message in enumerate(messages):
        if message.role in {"system", "user"}:
            parts.append(_text_turn(message.role.upper(), message.content))
        elif message.role in _ANSWER_ROLES:
            for number, call in enumerate(message.tool_calls, call_count):
                if call.id:
                    numbers.setdefault(call.id, number)
            parts.append(_answer(message, call_count))
            call_count += len(message.tool_calls)
        elif message.role == "tool":
            opening = (
                f"{OPEN_TURN}<|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[" if is_run_start(messages, i) else ","
            )
            closing = f"\n\n]<|END_TOOL_RESULT|>{CLOSE_TURN}" if is_run_end(messages, i) else ""
            result = _tool_result(
                str(numbers.get(message.tool_call_id, message.tool_call_id)), message.content
            )
            parts.append(opening + result + closing)
    if messages and messages[-1].role in _ANSWER_ROLES and not messages[-1].tool_calls:
        parts[-1] = parts[-1].removesuffix(CLOSE_TEXT + CLOSE_TURN)
    else:
        end = "" if conversation.is_thinking(default=True) else CLOSE_THINK
        parts.append(f"{OPEN_TURN}<|CHATBOT_TOKEN|>{OPEN_THINK}{end}")
    return "".join(parts)


def _text_turn(role: str, content: str) -> str:
    return f"{OPEN_TURN}<|{role}_TOKEN|>{OPEN_TEXT}{content}{CLOSE_TEXT}{CLOSE_TURN}"


def _tools_section(tools: Sequence[Tool]) -> str:
    entries = ",\n\n".join(f"\n    {_format_tool(tool)}" for tool in tools)
    return f"# Available Tools\n```json\n[\n{entries}\n\n\n]\n```"


def _format_tool(tool: Tool) -> str:
    function = tool.function
    return jsontext.format_spaced(
        {
            "name": function.name,
            "description": function.description,
            "parameters": jsontext.parameters_object(function),
            "responses": None,
        }
    )


def _answer(message: Message, first_number: int) -> str:
    thinking = f"{OPEN_THINK}{message.thinking}{CLOSE_THINK}" if message.thinking else ""
    if not message.tool_calls:
        return f"{OPEN_TURN}<|CHATBOT_TOKEN|>{thinking}{OPEN_TEXT}{message.content}{CLOSE_TEXT}{CLOSE_TURN}"
    calls = ",".join(
        f'\n\n    {{"tool_call_id": "{number}", "tool_name": "{call.name}", "parameters": '
        f"{jsontext.format_spaced(jsontext.arguments_object(call.arguments))}}}"
        for number, call in enumerate(message.tool_calls, first_number)
    )
    indent = "\n            \n                "
    action = f"{OPEN_ACTION}[{calls}\n\n]{CLOSE_ACTION}"
    return f"{OPEN_TURN}<|CHATBOT_TOKEN|>{indent}{thinking}{action}{CLOSE_TURN}"


def _tool_result(call_id: str, content: str) -> str:
    wrapped = jsontext.format_spaced({"content": content})
    results = f'{{\n\n            \n            "0": {wrapped}\n\n        }}'
    fields = f'"tool_call_id": "{call_id}",\n        "results": {results},\n        "is_error": null'
    return f"\n    {{\n        {fields}\n    }}"


# --- replies -----------------------------------------------------------------------------------------------

_TEXT_TAGS = TagSet(CLOSE_TEXT, CLOSE_RESPONSE, CLOSE_TURN, OPEN_ACTION)
_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS)
_BARE_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS, trim_start=Trim.ALL)
_BETWEEN = Mode(
    Sink.DROP,
    TagSet(OPEN_TEXT, OPEN_RESPONSE, OPEN_ACTION, CLOSE_ACTION, CLOSE_TURN),
    otherwise=_BARE_TEXT,
)
_THOUGHT = Mode(Sink.THINKING, TagSet(CLOSE_THINK), trims_end=True)
_ACTION = Mode(Sink.BODY, TagSet(CLOSE_ACTION), is_inside=is_in_value, may_be_talk=True)


class _CohereParser(TaggedParser):
    def __init__(self, first: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag in (OPEN_TEXT, OPEN_RESPONSE):
            self._enter(_TEXT)
        elif tag == OPEN_ACTION:
            self._enter(_ACTION, opened=tag)
        else:
            is_text = self._mode is _ACTION and not self._end_body(tag)
            self._enter(_TEXT if is_text else _BETWEEN)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        found = read_calls(body, self._tools, is_complete=is_complete, is_exact=is_exact, tags=(OPEN_ACTION,))
        return self._take(found) or not body.strip()


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    if is_prefilled(last_message):
        return _CohereParser(_TEXT, tools)
    return _CohereParser(_BETWEEN if think is False else _THOUGHT, tools)


# --- the family --------------------------------------------------------------------------------------------


def _call(_rules: Rules, name: str, arguments: Arguments) -> str:
    before = literal('{"tool_call_id": "'), literal(f'", "tool_name": {json.dumps(name)}, "parameters": ')
    return joined(before[0], "[0-9]{1,2}", before[1], f"({arguments.json()})", literal("}"))


FAMILY = Family(
    renderers=(Renderer("cohere", _render, BOS),),
    parsers=(
        Parser(
            "cohere",
            _create,
            (
                *THINK,
                OPEN_TEXT,
                CLOSE_TEXT,
                OPEN_ACTION,
                CLOSE_ACTION,
                CLOSE_TURN,
                OPEN_RESPONSE,
                CLOSE_RESPONSE,
            ),
            CallForm(
                _call,
                (OPEN_ACTION,),
                f"{OPEN_ACTION}[\n    ",
                f"\n]{CLOSE_ACTION}",
                ",\n    ",
                thinking=THINK,
                answer_starts=(OPEN_TEXT, OPEN_RESPONSE),
            ),
            has_thinking=True,
        ),
    ),
    signs=(Sign((OPEN_ACTION,), "cohere"),),
)
