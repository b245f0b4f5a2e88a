"""From a request of `/v1/responses` to the service's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corral.api.openai.shared import format_of, think_of_effort
from corral.api.reading import decode
from corral.api.reading.jsonread import JSONObject
from corral.api.reading.tool_choice import read_tool_choice, restrict_tools
from corral.api.reading.tool_schemas import named_tools, tool_parameters
from corral.api.responses.items import messages_of
from corral.api.responses.protocol import ResponsesRequest
from corral.errors import InvalidRequestError
from corral.inference.requests import ChatRequest, InferenceOptions
from corral.types import Message, Tool, ToolFunction, ToolParameters, ToolProperty

CUSTOM_TOOL = "custom"
# What a tool that takes a text and no object is for a model.
_TEXT_INPUT = ToolParameters(
    "object", required=("input",), properties={"input": ToolProperty(types=("string",))}
)

SEARCH_TOOL = "web_search"
_SEARCH = Tool(
    "function",
    function=ToolFunction(
        SEARCH_TOOL,
        "Search the web for current information.",
        ToolParameters(
            "object",
            required=("query",),
            properties={"query": ToolProperty(types=("string",), description="The search query.")},
        ),
    ),
)


def has_search(request: ResponsesRequest) -> bool:
    """Whether the request declares the search that the server itself runs."""
    return any(tool.get("type") == SEARCH_TOOL for tool in request.tools)


def custom_names(request: ResponsesRequest) -> frozenset[str]:
    """The names of the tools that take a text and no object."""
    return frozenset(name for name, tool in _named(request.tools, "") if tool.get("type") == CUSTOM_TOOL)


def chat_request(request: ResponsesRequest, history: Sequence[Any]) -> ChatRequest:
    """What the service is asked for; `history` holds the items of the responses before this one.

    Raises:
        InvalidRequestError: an item, a tool or a choice that cannot be served.
    """
    items = [*history, *request.items]
    messages = messages_of(items, history_count=len(history))
    if request.instructions:
        messages.insert(0, Message("system", request.instructions))
    options: dict[str, Any] = {"temperature": 1.0, **request.options}
    if request.max_output_tokens is not None:
        options["num_predict"] = request.max_output_tokens
    choice = read_tool_choice(request.tool_choice)
    return ChatRequest(
        common=InferenceOptions(
            model=request.model,
            format=_format(request),
            is_format_strict=request.is_format_strict,
            keep_alive_ns=request.keep_alive_ns,
            options=options,
            implied=frozenset({"temperature"}) - request.options.keys(),
            think=think_of_effort((request.reasoning or {}).get("effort", "")),
            is_think_optional=True,
            logprobs=request.has_logprobs,
            top_logprobs=request.top_logprobs if request.has_logprobs else 0,
        ),
        messages=tuple(messages),
        tools=restrict_tools(_tools(request), request.tool_choice, choice),
        tool_choice=choice,
        parallel_tool_calls=request.parallel_tool_calls,
    )


def _format(request: ResponsesRequest) -> str:
    return format_of(request.text_format, "text.format") or request.format


def _tools(request: ResponsesRequest) -> list[Tool]:
    is_searching = has_search(request)
    tools = []
    for name, tool in _named(request.tools, ""):
        kind = tool.get("type") or ""
        if kind == SEARCH_TOOL:
            tools.append(_SEARCH)
        elif kind == CUSTOM_TOOL:
            description = str(tool.get("description") or "")
            tools.append(Tool("function", function=ToolFunction(name, description, _TEXT_INPUT)))
        elif not name and kind != "function":
            continue  # a tool that another server would run
        elif not (is_searching and name == SEARCH_TOOL):
            function = ToolFunction(
                name,
                str(tool.get("description") or ""),
                _parameters(tool),
                is_strict=tool.get("strict") is True,
            )
            tools.append(Tool(str(kind), function=function))
    named_tools([tool for tool in tools if tool.type == "function"])
    return tools


def _named(tools: Sequence[Any], space: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Tools with their whole names; a namespace stands for its members."""
    for tool in tools:
        if not isinstance(tool, dict):
            raise InvalidRequestError("tools: each tool must be an object")
        name = str(tool.get("name") or "")
        if space and not name.startswith(f"{space}."):
            name = f"{space}.{name}"
        if tool.get("type") == "namespace":
            members = tool.get("tools")
            yield from _named(members if isinstance(members, list) else (), name)
        else:
            yield name, tool


def _parameters(tool: Mapping[str, Any]) -> ToolParameters:
    given = tool.get("parameters")
    if given is None:
        return ToolParameters()
    decoding = decode.Decoding("ToolFunctionParameters")
    parameters = tool_parameters(decoding, _in_order(given), "parameters", "")
    if parameters is None or decoding.soft_error is not None:
        raise InvalidRequestError(decoding.soft_error or "invalid tool parameters")
    return parameters


def _in_order(value: Any) -> Any:
    """A plain value in the form that decoders take, members of objects sorted, as Ollama has them."""
    if isinstance(value, dict):
        return JSONObject((name, _in_order(value[name])) for name in sorted(value))
    return [_in_order(element) for element in value] if isinstance(value, list) else value
