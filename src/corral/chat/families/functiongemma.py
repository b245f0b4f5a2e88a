"""FunctionGemma: a `developer` turn for instructions and tools, strings between `<escape>`.

The name of a tool result is that of the call at its place in the last answer with calls. After tool results the
model's turn stays open, and a following text of either side is appended without a header: models saw it so.
A call that cannot be read or repaired is given back as text.
Ollama: model/renderers/functiongemma.go, model/parsers/functiongemma.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat import marks
from corral.chat.families.family import Family, Parser, Renderer, Sign
from corral.chat.parsing.call_forms import CallForm, gemma_call
from corral.chat.parsing.gemma_values import read_gemma_calls
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet
from corral.chat.rendering.conversation import Conversation, trim
from corral.chat.rendering.gemma_values import format_arguments
from corral.chat.toolschema import resolved_parameters
from corral.types import Message, Think, Tool, ToolProperty

OPEN_TURN, CLOSE_TURN = "<start_of_turn>", "<end_of_turn>"
OPEN_CALL, CLOSE_CALL = "<start_function_call>", "<end_function_call>"
OPEN_RESPONSE, CLOSE_RESPONSE = "<start_function_response>", "<end_function_response>"
OPEN_DECLARATION, CLOSE_DECLARATION = "<start_function_declaration>", "<end_function_declaration>"
ESCAPE = "<escape>"


# --- prompts -----------------------------------------------------------------------------------------------

_INTRODUCTION = "You can do function calling with the following functions:"


def _render(conversation: Conversation) -> str:
    """Render a conversation."""
    messages = conversation.messages
    system = ""
    if messages and messages[0].role in {"system", "developer"}:
        system, messages = messages[0].content, messages[1:]
    parts = [marks.BOS]
    if system or conversation.tools:
        parts.append(
            f"{OPEN_TURN}developer\n{trim(system)}{_tools_section(conversation.tools, system)}{CLOSE_TURN}\n"
        )
    follows_response = False  # the model's turn is open after a tool result
    for i, message in enumerate(messages):
        if message.role == "tool":
            if not _is_answer_to_call(messages, i):
                parts.append(OPEN_RESPONSE)
            name = _called_name(messages, i)
            parts.append(f"response:{name}{{{ESCAPE}{message.content}{ESCAPE}}}{CLOSE_RESPONSE}")
            follows_response = True
        elif message.role in {"user", "assistant"}:
            if not follows_response:
                parts.append(f"{OPEN_TURN}{'user' if message.role == 'user' else 'model'}\n")
            follows_response = False
            parts.append(trim(message.content))
            calls = message.tool_calls if message.role == "assistant" else ()
            parts += [
                f"{OPEN_CALL}call:{call.name}{format_arguments(call.arguments, ESCAPE, '<nil>')}{CLOSE_CALL}"
                for call in calls
            ]
            has_response = calls and i + 1 < len(messages) and messages[i + 1].role == "tool"
            parts.append(OPEN_RESPONSE if has_response else f"{CLOSE_TURN}\n")
        else:
            parts.append(f"{OPEN_TURN}{message.role}\n{trim(message.content)}{CLOSE_TURN}\n")
    if not follows_response:
        parts.append(f"{OPEN_TURN}model\n")
    return "".join(parts)


def _is_answer_to_call(messages: Sequence[Message], i: int) -> bool:
    """Whether the response marker stands already after the calls of the message before."""
    return i > 0 and messages[i - 1].role == "assistant" and bool(messages[i - 1].tool_calls)


def _called_name(messages: Sequence[Message], i: int) -> str:
    place = 0
    for earlier in reversed(messages[:i]):
        if earlier.role == "tool":
            place += 1
        elif earlier.role == "assistant" and earlier.tool_calls:
            return earlier.tool_calls[place].name if place < len(earlier.tool_calls) else ""
    return ""


def _tools_section(tools: Sequence[Tool], system: str) -> str:
    if not tools:
        return ""
    introduction = "" if trim(system) == _INTRODUCTION else _INTRODUCTION
    return ("\n" if system else "") + introduction + "".join(_declaration(tool) for tool in tools)


def _declaration(tool: Tool) -> str:
    function = tool.function
    parameters = resolved_parameters(function.parameters)
    fields = [f"description:{ESCAPE}{function.description}{ESCAPE}"]
    if parameters.properties is not None or parameters.type:
        schema = []
        if parameters.properties:
            properties = ",".join(
                _property(name, parameters.properties[name]) for name in sorted(parameters.properties)
            )
            schema.append(f"properties:{{{properties}}}")
        if parameters.required:
            schema.append(f"required:[{','.join(ESCAPE + name + ESCAPE for name in parameters.required)}]")
        if parameters.type:
            schema.append(f"type:{ESCAPE}{parameters.type.upper()}{ESCAPE}")
        fields.append(f"parameters:{{{','.join(schema)}}}")
    return f"{OPEN_DECLARATION}declaration:{function.name}{{{','.join(fields)}}}{CLOSE_DECLARATION}"


def _property(name: str, prop: ToolProperty) -> str:
    kind = f",type:{ESCAPE}{prop.types[0].upper()}{ESCAPE}" if prop.types else ""
    return f"{name}:{{description:{ESCAPE}{prop.description}{ESCAPE}{kind}}}"


# --- replies -----------------------------------------------------------------------------------------------

_TEXT = Mode(Sink.CONTENT, TagSet(OPEN_CALL))
_CALL = Mode(
    Sink.BODY,
    TagSet(CLOSE_CALL, OPEN_CALL),
    is_inside=lambda body: body.count(ESCAPE) % 2 == 1,
)
# A closing tag that comes twice.
_AFTER_CALL = Mode(Sink.DROP, TagSet(CLOSE_CALL), otherwise=_TEXT)


class _FunctionGemmaParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool]) -> None:
        super().__init__(_TEXT, home=_TEXT)
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag == OPEN_CALL:
            if self._mode is _CALL and self._body:
                self._end_body("")
            self._enter(_CALL, opened=tag)
            return
        if self._mode is _CALL:
            self._end_body(tag)
        self._enter(_AFTER_CALL)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(read_gemma_calls(body, ESCAPE, self._tools, is_complete=is_complete))


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _FunctionGemmaParser(tools)


# --- the family --------------------------------------------------------------------------------------------

FAMILY = Family(
    renderers=(Renderer("functiongemma", _render, marks.BOS),),
    parsers=(
        Parser(
            "functiongemma",
            _create,
            (OPEN_CALL, CLOSE_CALL),
            CallForm(gemma_call(OPEN_CALL, CLOSE_CALL, ESCAPE), (OPEN_CALL,), thinking=None),
        ),
    ),
    signs=(Sign((OPEN_CALL,), "functiongemma"),),
)
