"""Chat templates that model files bring: Jinja, in a sandbox, with limits on time and memory.

The rules for what a template sees are those of llama.cpp's server, which is what Ollama lets apply these
templates: a trailing assistant message is a prefill, `developer` is shown as `system`, messages are not merged,
a template that cannot show a system message gets its text in front of the first user message, and one that reads
contents as lists of parts gets such lists. What a template can show is found by trying, once for each role.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import jinja2
from jinja2.exceptions import SecurityError

from corral.chat import marks
from corral.chat.templates.sandbox import QUICK_COMPARISONS, NotQuickError, Sandbox
from corral.chat.toolschema import property_json
from corral.errors import TemplateError, TemplateRaisedError
from corral.types import Message, Think, Tool, ToolParameters

_MAX_SOURCE_CHARS = 1 << 20
# Compiling takes up to 35 ms a kilobyte: longer sources are only ever compiled in a worker.
_MAX_QUICK_SOURCE_CHARS = 16 << 10
_MAX_CACHED_CHARS = 64 << 10
_MAX_OUTPUT_CHARS = 32 << 20
_TOOL_ROLE = re.compile(r"role['\"]\] == ['\"]tool['\"]|message\.role == ['\"]tool['\"]")


def has_tools(source: str) -> bool:
    """Whether a template mentions tools; Ollama: plain substring tests."""
    return "tools" in source or "tool_call" in source


def has_thinking(source: str) -> bool:
    """Whether a template writes thinking, or takes earlier thinking out."""
    if marks.OPEN_THINK in source and marks.CLOSE_THINK in source:
        return True
    splits = any(f"content.split({quote}{marks.CLOSE_THINK}{quote})" in source for quote in "'\"")
    return splits and "reasoning_content" not in source and "<SPECIAL_12>" not in source


def has_tool_round_trip(source: str) -> bool:
    """Whether a template shows calls and their results."""
    if not (has_tools(source) and ("tool_calls" in source or "assistant_tool_call" in source)):
        return False
    results = ("tool_response", "tool_results", "ipython")
    return any(word in source for word in results) or bool(_TOOL_ROLE.search(source))


# Shown as a text, as a list of parts, or not at all.
_Form = Literal["text", "parts", "none"]
_MARK = "corral-probe-5f1c"
_USER = {"role": "user", "content": "x"}
# The shortest conversations in which a role's text is to show.
_PROBES: dict[str, list[dict[str, Any]]] = {
    "user": [{"role": "user", "content": _MARK}],
    "system": [{"role": "system", "content": _MARK}, _USER],
    "assistant": [_USER, {"role": "assistant", "content": _MARK}, _USER],
    "tool": [
        _USER,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"type": "function", "id": "call00000", "function": {"name": "f", "arguments": {}}}
            ],
        },
        {"role": "tool", "content": _MARK, "name": "f", "tool_call_id": "call00000"},
    ],
}


class ChatTemplate:
    """A chat template. Rendering keeps no state, so one can serve many requests.

    A source of usual length is compiled at once, a long one by the first full rendering.

    Raises:
        TemplateError: it does not parse.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._code: Any = None
        self._comparisons = 0
        self._forms: dict[str, _Form] = {}
        if len(source) > _MAX_SOURCE_CHARS:
            raise TemplateError(f"chat template is longer than {_MAX_SOURCE_CHARS} characters")
        if len(source) <= _MAX_QUICK_SOURCE_CHARS:
            self._compile()

    def _compile(self) -> None:
        sandbox = Sandbox()
        try:
            self._code = sandbox.compile(self.source)
        except (
            jinja2.TemplateError,
            SyntaxError,
            RecursionError,
            MemoryError,
            ValueError,
            OverflowError,
        ) as exc:
            # Blocks that are nested too deeply are a SyntaxError of the Python code that Jinja makes.
            raise TemplateError(f"chat template does not parse: {exc or type(exc).__name__}") from exc
        self._comparisons = sandbox.comparisons

    @property
    def can_be_quick(self) -> bool:
        """Whether it is worth a try to render on the event loop."""
        return self._code is not None and self._comparisons <= QUICK_COMPARISONS

    @classmethod
    def parse(cls, source: str) -> ChatTemplate:
        """A template, from the cache if it was parsed before.

        Raises:
            TemplateError
        """
        return _parse(source) if len(source) <= _MAX_CACHED_CHARS else ChatTemplate(source)

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        *,
        think: Think = None,
        bos_token: str = "",
        eos_token: str = "",
        add_generation_prompt: bool = True,
        extra: Mapping[str, Any] | None = None,
        is_quick: bool = False,
    ) -> str:
        """The prompt of a conversation. A quick rendering takes a few milliseconds at most.

        Raises:
            TemplateRaisedError: the template refuses the conversation.
            TemplateError: it fails, or takes too much.
            NotQuickError: a quick rendering that would take longer.
        """
        if is_quick and not self.can_be_quick:
            raise NotQuickError
        prefill = ""
        if messages and messages[-1].role == "assistant" and not messages[-1].tool_calls:
            prefill = messages[-1].content
            messages = messages[:-1]
        variables: dict[str, Any] = {
            "messages": self._visible(messages, is_quick=is_quick),
            "tools": [tool_json(tool) for tool in tools] or None,
            "bos_token": bos_token,
            "eos_token": eos_token,
            "add_generation_prompt": add_generation_prompt,
            **_today(),
            **(extra or {}),
        }
        if think is not None:
            variables["enable_thinking"] = bool(think)
            if isinstance(think, str):
                variables["reasoning_effort"] = think
        try:
            return self._execute(variables, is_quick=is_quick) + prefill
        except TemplateRaisedError:
            single = _one_call_each(messages)
            if len(single) == len(messages):
                raise
        # Some families know only one call a turn; an answer of ours with several must not end the conversation.
        variables["messages"] = self._visible(single, is_quick=is_quick)
        return self._execute(variables, is_quick=is_quick) + prefill

    def _visible(self, messages: Sequence[Message], *, is_quick: bool) -> list[dict[str, Any]]:
        values = [_message_json(message) for message in messages]
        systems = [value for value in values if value["role"] == "system"]
        if systems and self._form("system", is_quick=is_quick) == "none":
            values = _with_system_first(values, "\n".join(value["content"] for value in systems))
        for value in values:
            form = self._form(value["role"], is_quick=is_quick)
            if form == "none":  # then as the engine does it, which tries the user's only
                form = self._form("user", is_quick=is_quick)
            if form == "parts":
                value["content"] = _parts(value["content"])
        return values

    def _form(self, role: str, *, is_quick: bool) -> _Form:
        """In which form the template shows a content of this role, tried with a text that occurs nowhere else."""
        if role not in _PROBES:
            return "text"
        if role not in self._forms:
            found: _Form = "none"
            for form in ("text", "parts"):
                if self._shows(role, is_parts=form == "parts", is_quick=is_quick):
                    found = form
                    break
            self._forms[role] = found
        return self._forms[role]

    def _shows(self, role: str, *, is_parts: bool, is_quick: bool) -> bool:
        others_are_parts = role != "user" and self._form("user", is_quick=is_quick) == "parts"
        messages = [
            {**message, "content": _parts(text)}
            if (is_parts if text == _MARK else others_are_parts)
            else message
            for message in _PROBES[role]
            for text in (message["content"],)
        ]
        variables = {"messages": messages, "tools": None, "bos_token": "", "eos_token": ""}
        try:
            return _MARK in self._execute(variables, is_quick=is_quick)
        except TemplateError:
            return False

    def _execute(self, variables: dict[str, Any], *, is_quick: bool) -> str:
        if self._code is None:
            self._compile()
        environment = Sandbox(is_quick=is_quick)
        template = jinja2.Template.from_code(environment, self._code, environment.make_globals(None))
        parts: list[str] = []
        size = 0
        try:
            for part in _stepping(template.generate(**variables), environment):
                size += len(part)
                if size > _MAX_OUTPUT_CHARS:
                    raise SecurityError("the template writes too much")
                parts.append(part)
        except TemplateError:
            raise
        except (jinja2.TemplateError, RecursionError, MemoryError) as exc:
            raise TemplateError(f"chat template failed: {exc or type(exc).__name__}") from exc
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
            AttributeError,
            ArithmeticError,
            LookupError,
        ) as exc:
            # A template is a program of somebody else; what it trips over is its error, not ours.
            raise TemplateError(f"chat template failed: {type(exc).__name__}: {exc}") from exc
        return "".join(parts)


def _stepping(parts: Iterator[str], environment: Sandbox) -> Iterator[str]:
    for part in parts:
        environment.spend()
        yield part


def _with_system_first(values: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """The messages with the system's text in front of the first user's."""
    rest = [value for value in values if value["role"] != "system"]
    for value in rest:
        if value["role"] == "user":
            value["content"] = f"{text}\n{value['content']}"
            return rest
    return [{"role": "user", "content": text}, *rest]


def _one_call_each(messages: Sequence[Message]) -> list[Message]:
    """The same conversation with an answer for each call, followed by the result of that call."""
    split: list[Message] = []
    waiting: list[Message] = []
    for message in messages:
        if message.role == "tool" and waiting:
            index = next((i for i, m in enumerate(waiting) if m.tool_calls[0].id == message.tool_call_id), 0)
            split += [waiting.pop(index), message]
            continue
        split += waiting
        first, *others = message.tool_calls or (None,)
        waiting = [Message("assistant", tool_calls=(call,)) for call in others if call is not None]
        if others and first is not None:
            waiting.insert(0, replace(message, tool_calls=(first,)))
        else:
            split.append(message)
    return split + waiting


def _today() -> dict[str, str]:
    """The date as llama.cpp gives it to templates."""
    today = datetime.date.today()
    return {"date_string": today.strftime("%d %b %Y"), "datetime": today.strftime("%b %d %Y")}


def _parts(content: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": content}]


@lru_cache(maxsize=128)
def _parse(source: str) -> ChatTemplate:
    return ChatTemplate(source)


def _message_json(message: Message) -> dict[str, Any]:
    role = "system" if message.role == "developer" else message.role
    value: dict[str, Any] = {"role": role, "content": message.content}
    if message.tool_calls:
        value["tool_calls"] = [
            {
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
                **({"id": call.id} if call.id else {}),
            }
            for call in message.tool_calls
        ]
    if message.tool_name:
        value["name"] = message.tool_name
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    return value


def _arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the reference passes them on: order kept at the top, sorted below, whole numbers whole."""
    return {name: _sorted(value) for name, value in arguments.items()}


def tool_json(tool: Tool) -> dict[str, Any]:
    """A tool in the form of OpenAI's API, which templates expect."""
    function = tool.function
    return {
        "type": tool.type or "function",
        "function": {
            "name": function.name,
            "description": function.description,
            "parameters": _parameters_json(function.parameters),
        },
    }


def _parameters_json(parameters: ToolParameters) -> dict[str, Any]:
    value: dict[str, Any] = {"type": parameters.type}
    if parameters.defs is not None:
        value["$defs"] = _sorted(parameters.defs)
    if parameters.items is not None:
        value["items"] = _sorted(parameters.items)
    if parameters.required:
        value["required"] = list(parameters.required)
    properties = parameters.properties
    value["properties"] = (
        None if properties is None else {name: property_json(p, _sorted) for name, p in properties.items()}
    )
    return value | parameters.others


def _sorted(value: Any) -> Any:
    """Free JSON as the reference holds it: in maps, whose order is that of their names."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_sorted(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
