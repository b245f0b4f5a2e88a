"""Chat templates that model files bring: Jinja, in a sandbox, with limits on time and memory.

The rules for what a template sees are those of llama.cpp's server, which is what Ollama lets apply these
templates: a trailing assistant message is a prefill, `developer` is shown as `system`, messages are not merged, and
a template that cannot show a system message gets its text in front of the first user message.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from corral.errors import TemplateError
from corral.types import Message, Think, Tool, ToolParameters, ToolProperty

__all__ = ["ChatTemplate", "TemplateRaisedError", "has_thinking", "has_tool_round_trip", "has_tools"]

_MAX_SOURCE_CHARS = 1 << 20
_MAX_OUTPUT_CHARS = 32 << 20
_MAX_STEPS = 2_000_000
_MAX_REPEAT_CHARS = 1 << 20
_COUNTED = "corral_counted"
_TOOL_ROLE = re.compile(r"role['\"]\] == ['\"]tool['\"]|message\.role == ['\"]tool['\"]")


class TemplateRaisedError(TemplateError):
    """The template itself refused the conversation (`raise_exception`)."""


def has_tools(source: str) -> bool:
    """Whether a template mentions tools; Ollama: plain substring tests."""
    return "tools" in source or "tool_call" in source


def has_thinking(source: str) -> bool:
    """Whether a template writes thinking, or takes earlier thinking out."""
    if "<think>" in source and "</think>" in source:
        return True
    splits = "content.split('</think>')" in source or 'content.split("</think>")' in source
    return splits and "reasoning_content" not in source and "<SPECIAL_12>" not in source


def has_tool_round_trip(source: str) -> bool:
    """Whether a template shows calls and their results."""
    if not (has_tools(source) and ("tool_calls" in source or "assistant_tool_call" in source)):
        return False
    results = ("tool_response", "tool_results", "ipython")
    return any(word in source for word in results) or bool(_TOOL_ROLE.search(source))


class _Generation(Extension):
    """`{% generation %}` marks assistant text for training; for prompts its body stands for itself."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox with a step counter at calls, loops and operators that could multiply work."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            autoescape=False,
            cache_size=0,
        )
        self.steps = 0
        self.filters["tojson"] = _to_json
        self.filters[_COUNTED] = self._counted
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now
        self.globals["range"] = self._range
        for name in ("center", "indent", "wordwrap", "batch", "slice", "format", "round", "filesizeformat"):
            self.filters[name] = _bounded(self.filters[name])
        self.globals.pop("lipsum", None)
        self.globals.pop("cycler", None)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Parse, and put a counter around what every loop goes over: a loop alone calls nothing."""
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None)
        return tree

    def spend(self, steps: int = 1) -> None:
        self.steps += steps
        if self.steps > _MAX_STEPS:
            raise SecurityError("the template takes too many steps")

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.spend()
        _check_sizes(args)
        result = super().call(context, obj, *args, **kwargs)
        if isinstance(result, str | list):
            self.spend(len(result) // 64)
        return result

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.spend()
        if operator == "**":
            raise SecurityError("powers are not available")
        if operator == "*" and (
            isinstance(left, str | list | tuple) or isinstance(right, str | list | tuple)
        ):
            sized, count = (left, right) if isinstance(left, str | list | tuple) else (right, left)
            if isinstance(count, int) and len(sized) * count > _MAX_REPEAT_CHARS:
                raise SecurityError("the template repeats too much")
        if operator == "%" and isinstance(left, str) and re.search(r"%[^a-zA-Z%]*\d{4}", left):
            raise SecurityError("the template pads too much")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, str | list):
            self.spend(len(result) // 64)
        return result

    def _counted(self, iterable: Any) -> Iterator[Any]:
        for element in iterable:
            self.spend()
            yield element

    def _range(self, *args: int) -> range:
        numbers = range(*args)
        self.spend(len(numbers))
        return numbers


def _check_sizes(args: tuple[Any, ...]) -> None:
    """Arguments like a width of a billion make one call as costly as a billion."""
    if any(isinstance(arg, int) and abs(arg) > _MAX_REPEAT_CHARS for arg in args):
        raise SecurityError("an argument in the template is too large")


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    if getattr(function, "jinja_pass_arg", None) is not None:

        @jinja2.pass_environment
        def with_environment(environment: Any, *args: Any, **kwargs: Any) -> Any:
            _check_sizes((*args, *kwargs.values()))
            return function(environment, *args, **kwargs)

        return with_environment

    def plain(*args: Any, **kwargs: Any) -> Any:
        _check_sizes((*args, *kwargs.values()))
        return function(*args, **kwargs)

    return plain


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRaisedError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Hugging Face templates expect it: nothing escaped for HTML."""
    if indent is not None:
        _check_sizes((indent,))
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


class ChatTemplate:
    """A parsed template. Rendering keeps no state, so one can serve many requests."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._code: Any = None
        if len(source) > _MAX_SOURCE_CHARS:
            raise TemplateError(f"chat template is longer than {_MAX_SOURCE_CHARS} characters")
        try:
            self._code = _Environment().compile(source)
        except (jinja2.TemplateSyntaxError, RecursionError, MemoryError) as exc:
            raise TemplateError(f"chat template does not parse: {exc}") from exc
        self._shows_system: bool | None = None

    @classmethod
    def parse(cls, source: str) -> ChatTemplate:
        """A template, from the cache if it was parsed before.

        Raises:
            TemplateError
        """
        return _parse(source)

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
    ) -> str:
        """The prompt of a conversation.

        Raises:
            TemplateRaisedError: the template refuses the conversation.
            TemplateError: it fails, or takes too much.
        """
        prefill = ""
        if messages and messages[-1].role == "assistant" and not messages[-1].tool_calls:
            prefill = messages[-1].content
            messages = messages[:-1]
        variables: dict[str, Any] = {
            "messages": self._visible(messages),
            "tools": [tool_json(tool) for tool in tools] or None,
            "bos_token": bos_token,
            "eos_token": eos_token,
            "add_generation_prompt": add_generation_prompt,
            **(extra or {}),
        }
        if think is not None:
            variables["enable_thinking"] = bool(think)
            if isinstance(think, str):
                variables["reasoning_effort"] = think
        text = self._execute(variables)
        # The engine writes the BOS token itself; a template that does so too would double it.
        return (text.removeprefix(bos_token) if bos_token else text) + prefill

    def _visible(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        values = [_message_json(message) for message in messages]
        systems = [value for value in values if value["role"] == "system"]
        if not systems or self._can_show_system():
            return values
        text = "\n".join(value["content"] for value in systems)
        rest = [value for value in values if value["role"] != "system"]
        for value in rest:
            if value["role"] == "user":
                value["content"] = f"{text}\n{value['content']}"
                return rest
        return [{"role": "user", "content": text}, *rest]

    def _can_show_system(self) -> bool:
        """Whether a system text comes out of the template; asked once, with a text that occurs nowhere else."""
        if self._shows_system is None:
            mark = "corral-probe-5f1c"
            probe = [{"role": "system", "content": mark}, {"role": "user", "content": "x"}]
            try:
                text = self._execute({"messages": probe, "tools": None, "bos_token": "", "eos_token": ""})
            except TemplateError:
                text = ""
            self._shows_system = mark in text
        return self._shows_system

    def _execute(self, variables: dict[str, Any]) -> str:
        environment = _Environment()
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


def _stepping(parts: Iterator[str], environment: _Environment) -> Iterator[str]:
    for part in parts:
        environment.spend()
        yield part


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
        None if properties is None else {name: _property_json(p) for name, p in properties.items()}
    )
    return value


def _sorted(value: Any) -> Any:
    """Free JSON as the reference holds it: in maps, whose order is that of their names."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_sorted(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _property_json(given: ToolProperty) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if given.any_of:
        value["anyOf"] = [_property_json(p) for p in given.any_of]
    if given.types:
        value["type"] = given.types[0] if len(given.types) == 1 else list(given.types)
    if given.items is not None:
        value["items"] = _sorted(given.items)
    if given.description:
        value["description"] = given.description
    if given.enum:
        value["enum"] = list(given.enum)
    if given.properties is not None:
        value["properties"] = {name: _property_json(p) for name, p in given.properties.items()}
    if given.required:
        value["required"] = list(given.required)
    return value
