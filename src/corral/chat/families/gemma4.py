"""Gemma 4: turns of `user` and `model`, thinking in channels, tool results folded into the model's turn.

A model is small or large: a large one that does not think gets an empty thought. Answers in a row continue one turn,
calls and their results come before the text of the answer, results without a call are not shown. A call that cannot
be read or repaired is given back as text. Ollama: model/renderers/gemma4.go, model/parsers/gemma4.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from corral.chat import marks
from corral.chat.families.family import CreateDefault, Family, Parser, Renderer, Sign
from corral.chat.parsing.call_forms import CallForm, gemma_call
from corral.chat.parsing.gemma_values import GEMMA_RESPONSE, read_gemma_calls
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, trim
from corral.chat.rendering.gemma_values import format_arguments, format_number
from corral.chat.toolschema import resolved_parameters
from corral.types import Message, Think, Tool, ToolProperty

OPEN_TURN, CLOSE_TURN = "<|turn>", "<turn|>"
THINK_MARK = "<|think|>"
OPEN_CHANNEL, CLOSE_CHANNEL, CHANNEL_NAME = "<|channel>", "<channel|>", "thought\n"
OPEN_TOOL, CLOSE_TOOL = "<|tool>", "<tool|>"
OPEN_CALL, CLOSE_CALL = "<|tool_call>", "<tool_call|>"
RESPONSE, CLOSE_RESPONSE = GEMMA_RESPONSE, "<tool_response|>"
DELIMITER = '<|"|>'


# --- prompts -----------------------------------------------------------------------------------------------

_LARGE_PARAMETERS = 12_000_000_000
_SCHEMA_KEYS = frozenset({"description", "type", "properties", "required", "nullable"})


def _render_by_size(conversation: Conversation) -> str:
    """Render for the size that the model's name tells, or else its parameter count."""
    return _render(
        conversation, is_large=_is_large(conversation.model_name.lower(), conversation.parameter_count)
    )


def _render_small(conversation: Conversation) -> str:
    """Render for E2B and E4B."""
    return _render(conversation, is_large=False)


def _render_large(conversation: Conversation) -> str:
    """Render for 12B and up."""
    return _render(conversation, is_large=True)


def _is_large(name: str, parameter_count: int) -> bool:
    if "e2b" in name or "e4b" in name:
        return False
    return any(size in name for size in ("12b", "26b", "31b")) or parameter_count >= _LARGE_PARAMETERS


def _render(conversation: Conversation, *, is_large: bool) -> str:
    is_thinking = conversation.is_thinking(default=False)
    messages = conversation.messages
    parts = [marks.BOS]
    system = None
    if messages and messages[0].role in {"system", "developer"}:
        system, messages = messages[0].content, messages[1:]
    if system is not None or conversation.tools or is_thinking:
        thinking = f"{THINK_MARK}\n" if is_thinking else ""
        declarations = "".join(_declaration(tool) for tool in conversation.tools)
        parts.append(f"{OPEN_TURN}system\n{thinking}{trim(system or '')}{declarations}{CLOSE_TURN}\n")
    last_user = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    turns = [i for i, m in enumerate(messages) if m.role != "tool"]
    for position, i in enumerate(turns):
        is_continued = position + 1 < len(turns) and messages[turns[position + 1]].role == "assistant"
        continues = position > 0 and messages[turns[position - 1]].role == "assistant"
        if messages[i].role == "assistant":
            if not continues:
                parts.append(f"{OPEN_TURN}model\n")
            is_end = position + 1 == len(turns)
            parts.append(_answer(messages, i, is_old=i < last_user, is_continued=is_continued, is_end=is_end))
        else:
            parts.append(f"{OPEN_TURN}{messages[i].role}\n{trim(messages[i].content)}{CLOSE_TURN}\n")
    last = turns[-1] if turns else -1
    if not turns or not messages[last].tool_calls:
        parts.append(f"{OPEN_TURN}model\n")
        if is_large and not is_thinking:
            parts.append(OPEN_CHANNEL + CHANNEL_NAME + CLOSE_CHANNEL)
    elif is_thinking and _results(messages, last):
        parts.append(OPEN_CHANNEL + CHANNEL_NAME)
    return "".join(parts)


def _results(messages: Sequence[Message], i: int) -> Sequence[Message]:
    """The tool messages that follow message `i` directly."""
    end = i + 1
    while end < len(messages) and messages[end].role == "tool":
        end += 1
    return messages[i + 1 : end]


def _answer(messages: Sequence[Message], i: int, *, is_old: bool, is_continued: bool, is_end: bool) -> str:
    """An answer with its calls and their results; `is_end` when nothing but tool results follows it."""
    message = messages[i]
    parts = []
    if message.thinking and not is_old:
        parts.append(f"{OPEN_CHANNEL}{CHANNEL_NAME}{message.thinking}\n{CLOSE_CHANNEL}")
    parts += [
        f"{OPEN_CALL}call:{call.name}{format_arguments(call.arguments, DELIMITER, 'null')}{CLOSE_CALL}"
        for call in message.tool_calls
    ]
    results = _results(messages, i) if message.tool_calls else ()
    for result in results:
        name = _result_name(result, message)
        parts.append(
            f"{RESPONSE}response:{name}{{value:{DELIMITER}{result.content}{DELIMITER}}}{CLOSE_RESPONSE}"
        )
    content = _without_thinking(message.content)
    parts.append(content)
    if message.tool_calls and not results:
        parts.append(RESPONSE)
    elif not is_continued and not (results and not content and is_end):
        parts.append(f"{CLOSE_TURN}\n")
    return "".join(parts)


def _result_name(result: Message, answer: Message) -> str:
    if result.tool_call_id:
        for call in answer.tool_calls:
            if call.id == result.tool_call_id:
                return call.name
    return result.tool_name or "unknown"


def _without_thinking(content: str) -> str:
    """The text without its channels; an unclosed one hides all that follows."""
    kept = []
    while content:
        before, tag, rest = content.partition(OPEN_CHANNEL)
        kept.append(before)
        content = rest.partition(CLOSE_CHANNEL)[2] if tag else ""
    return trim("".join(kept))


# Declarations of tools: a schema without quotes around names, types in capitals, everything sorted. Schemas come in
# two forms: the properties of the request, which know their fields, and whatever stands below `items`, which is any
# JSON and is shown as far as it looks like a schema.


def _declaration(tool: Tool) -> str:
    """The declaration of one tool.

    Raises:
        TemplateError: the schema is nested too deeply.
    """
    function = tool.function
    parameters = resolved_parameters(function.parameters)
    fields = [f"description:{_quoted(function.description)}"]
    if parameters.properties is not None or parameters.type:
        schema = []
        if parameters.properties:
            schema.append(f"properties:{{{_properties(_property_schemas(parameters.properties, 0))}}}")
        if parameters.required:
            schema.append(f"required:{_string_list(parameters.required)}")
        if parameters.type:
            schema.append(f"type:{_quoted(parameters.type.upper())}")
        fields.append(f"parameters:{{{','.join(schema)}}}")
    return f"{OPEN_TOOL}declaration:{function.name}{{{','.join(fields)}}}{CLOSE_TOOL}"


def _quoted(text: str) -> str:
    return f"{DELIMITER}{text}{DELIMITER}"


def _string_list(values: Sequence[Any]) -> str:
    return f"[{','.join(_quoted(value) for value in values if isinstance(value, str))}]"


def _property_schemas(properties: Mapping[str, ToolProperty], depth: int) -> dict[str, Any]:
    jsontext.check_depth(depth)
    return {name: _schema(prop, depth) for name, prop in properties.items()}


def _schema(prop: ToolProperty, depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if types := prop.types or _union_types(prop):
        names = ", ".join(f"'{kind}'" for kind in types)
        schema["type"] = types[0] if len(types) == 1 else f"[{names}]"  # one string: models saw it so
    if prop.description:
        schema["description"] = prop.description
    if prop.enum:
        schema["enum"] = list(prop.enum)
    if prop.items is not None:
        schema["items"] = jsontext.sorted_value(prop.items)
    if prop.properties is not None:
        schema["properties"] = _property_schemas(prop.properties, depth + 2)
    if prop.required:
        schema["required"] = list(prop.required)
    return schema


def _union_types(prop: ToolProperty) -> tuple[str, ...]:
    """The types of an `anyOf` of nothing but types, each once."""
    for option in prop.any_of:
        if option != ToolProperty(types=option.types, others=option.others) or not option.types:
            return ()
    return tuple(dict.fromkeys(kind for option in prop.any_of for kind in option.types))


def _type_names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value.upper()]
    return [kind.upper() for kind in value if isinstance(kind, str)] if isinstance(value, list) else []


def _type_field(names: Sequence[str]) -> str:
    return f"type:{_quoted(names[0])}" if len(names) == 1 else f"type:{_string_list(names)}"


def _properties(schemas: Mapping[str, Any]) -> str:
    return ",".join(
        f"{name}:{{{_fields(schema)}}}"
        for name, schema in sorted(schemas.items(), key=itemgetter(0))
        if isinstance(schema, Mapping)
    )


def _fields(schema: Mapping[str, Any]) -> str:
    """The fields of one property; `enum`, `items` and `properties` only where the type is theirs."""
    fields = []
    description = schema.get("description")
    if isinstance(description, str) and description:
        fields.append(f"description:{_quoted(description)}")
    names = _type_names(schema.get("type"))
    kind = names[0] if names else ""
    enum, items = schema.get("enum"), schema.get("items")
    if kind == "STRING" and isinstance(enum, list) and enum:
        fields.append(f"enum:[{','.join(_quoted(jsontext.format_value(value)) for value in enum)}]")
    elif kind == "ARRAY" and isinstance(items, Mapping) and items:
        fields.append(f"items:{{{_items(items)}}}")
    if schema.get("nullable") is True:
        fields.append("nullable:true")
    if kind == "OBJECT":
        nested = schema.get("properties")
        if not isinstance(nested, Mapping):
            nested = {key: value for key, value in schema.items() if key not in _SCHEMA_KEYS}
        fields.append(f"properties:{{{_properties(nested)}}}")
        required = schema.get("required")
        if isinstance(required, list) and any(isinstance(name, str) for name in required):
            fields.append(f"required:{_string_list(required)}")
    if names:
        fields.append(_type_field(names))
    return ",".join(fields)


def _items(items: Mapping[str, Any]) -> str:
    """The fields of an `items` schema, which is sorted already."""
    fields = []
    for key, value in items.items():
        if key == "properties":
            fields.append(f"properties:{{{_properties(value) if isinstance(value, Mapping) else ''}}}")
        elif key == "required":
            fields.append(f"required:{_string_list(value) if isinstance(value, list) else '[]'}")
        elif key == "type":
            if names := _type_names(value):
                fields.append(_type_field(names))
        elif value is not None:
            fields.append(f"{key}:{_any_value(value)}")
    return ",".join(fields)


def _any_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return format_number(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_quoted(name)}:{_any_value(member)}' for name, member in value.items())}}}"
    return f"[{','.join(_any_value(element) for element in value)}]"


# --- replies -----------------------------------------------------------------------------------------------

_TEXT_TAGS = TagSet(OPEN_CHANNEL, OPEN_CALL)
_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS, trims_end=True, keeps_end=True)
_TEXT_AFTER_TAG = Mode(Sink.CONTENT, _TEXT_TAGS, Trim.ALL, trims_end=True, keeps_end=True)
_THOUGHT = Mode(Sink.THINKING, TagSet(CLOSE_CHANNEL), trims_end=True)
_HIDDEN = Mode(Sink.DROP, TagSet(CLOSE_CHANNEL))
_CALL = Mode(Sink.BODY, TagSet(CLOSE_CALL, OPEN_CALL, RESPONSE, DELIMITER))
_STRING = Mode(Sink.BODY, TagSet(DELIMITER))
# Closing tags that the model repeats, and the place where its answer would go.
_AFTER_CALL = Mode(Sink.DROP, TagSet(CLOSE_CALL, RESPONSE), otherwise=_TEXT_AFTER_TAG)


class _Gemma4Parser(TaggedParser):
    def __init__(self, first: Mode, thought: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._tools = tools
        self._thought = thought
        self._channel = Mode(Sink.DROP, TagSet(CHANNEL_NAME), otherwise=thought)

    def _on_tag(self, tag: str) -> None:
        if tag == OPEN_CHANNEL:
            self._enter(self._channel)
        elif tag == CHANNEL_NAME:
            self._enter(self._thought)
        elif tag == CLOSE_CHANNEL:
            self._enter(_TEXT_AFTER_TAG)
        elif tag == DELIMITER:
            self._append_body(tag)
            self._enter(_STRING if self._mode is _CALL else _CALL, self._opened)
        elif self._mode is _AFTER_CALL:
            self._enter(_AFTER_CALL)
        else:
            if self._mode is _CALL and (self._body or tag == CLOSE_CALL):
                self._end_body(tag if tag == CLOSE_CALL else "")
            if tag == OPEN_CALL:
                self._enter(_CALL, opened=tag)
            else:
                self._enter(_AFTER_CALL)

    def _on_unclosed(self) -> None:
        """A closing tag in a string counts after all if the string was never closed."""
        opened, mode = self._opened, self._mode
        body = self._take_body()
        head, tag, tail = body.partition(CLOSE_CALL)
        if tag and mode is _STRING and self._read_body(head, is_complete=True, is_exact=False):
            self._emit(tail.strip())
        elif not self._read_body(body, is_complete=False, is_exact=False):
            self._emit(opened + body)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(read_gemma_calls(body, DELIMITER, self._tools, is_complete=is_complete))


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """After the result of a tool the model goes on thinking."""
    if not think:
        return _Gemma4Parser(_TEXT, _HIDDEN, tools)
    is_after_tool = last_message is not None and last_message.role == "tool"
    return _Gemma4Parser(_THOUGHT if is_after_tool else _TEXT, _THOUGHT, tools)


def _create_no_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _Gemma4Parser(_TEXT, _HIDDEN, tools)


# --- the family --------------------------------------------------------------------------------------------

_TOKENS = (OPEN_CHANNEL, CLOSE_CHANNEL, OPEN_CALL, CLOSE_CALL, RESPONSE, DELIMITER)
_FORM = CallForm(
    gemma_call(OPEN_CALL, CLOSE_CALL, DELIMITER),
    (OPEN_CALL,),
    thinking=(OPEN_CHANNEL + CHANNEL_NAME, CLOSE_CHANNEL),
)

FAMILY = Family(
    renderers=(
        Renderer("gemma4", _render_by_size, marks.BOS, has_image_tags=True),
        Renderer("gemma4-small", _render_small, marks.BOS, has_image_tags=True),
        Renderer("gemma4-large", _render_large, marks.BOS, has_image_tags=True),
    ),
    parsers=(
        Parser("gemma4", _create, _TOKENS, _FORM, has_thinking=True),
        Parser("gemma4-no-thinking", _create_no_thinking, _TOKENS, _FORM),
    ),
    signs=(Sign((OPEN_CALL,), "gemma4"),),
    create_default=CreateDefault(("gemma4",), "gemma4", "gemma4", (CLOSE_TURN,)),
)
