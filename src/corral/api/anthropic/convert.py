"""From a request of `/v1/messages` to the service's, and the estimate of its tokens."""

from __future__ import annotations

from typing import Any, cast

from corral.api.anthropic.blocks import messages_of
from corral.api.anthropic.protocol import MessagesRequest, WireTool
from corral.api.reading import decode
from corral.api.reading.tool_schemas import named_tools, tool_parameters
from corral.errors import InvalidRequestError
from corral.golang.json import encode
from corral.golang.quote import quoted
from corral.inference.requests import ChatRequest, InferenceOptions
from corral.types import Message, Think, Tool, ToolFunction, ToolParameters, ToolProperty

SEARCH_TOOL = "web_search"
_SEARCH = Tool(
    "function",
    function=ToolFunction(
        SEARCH_TOOL,
        "Search the web for current information. Use this to find up-to-date information about any topic.",
        ToolParameters(
            "object",
            required=("query",),
            properties={
                "query": ToolProperty(types=("string",), description="The search query to look up on the web")
            },
        ),
    ),
)


def has_search(request: MessagesRequest) -> bool:
    """Whether the request declares the search that the server itself runs."""
    return any(_is_search(tool) for tool in request.tools)


def _is_search(tool: WireTool) -> bool:
    return tool.type.startswith("web_search")


def chat_request(request: MessagesRequest) -> ChatRequest:
    """What the service is asked for.

    Raises:
        InvalidRequestError: content, a tool or a choice of tools that cannot be served.
    """
    messages = [Message("system", request.system)] if request.system else []
    last_question = max((i for i, m in enumerate(request.messages) if m.role == "user"), default=-1)
    for i, message in enumerate(request.messages):
        messages += messages_of(message.role, message.content, is_history=i < last_question)
    tools = _tools(request)
    choice = request.tool_choice or {}
    options: dict[str, Any] = {**request.options, "num_predict": request.max_tokens or None}
    if request.stop_sequences:
        options["stop"] = list(request.stop_sequences)
    return ChatRequest(
        common=InferenceOptions(
            model=request.model,
            format=_format(request),
            is_format_strict=request.is_format_strict,
            keep_alive_ns=request.keep_alive_ns,
            options=options,
            think=_think(request),
            is_think_optional=True,
            think_budget=_think_budget(request),
        ),
        messages=tuple(messages),
        tools=tools,
        tool_choice=_tool_choice(choice, tools),
        parallel_tool_calls=choice.get("disable_parallel_tool_use") is not True,
    )


def _tools(request: MessagesRequest) -> tuple[Tool, ...]:
    is_searching = has_search(request)
    tools = []
    for tool in request.tools:
        if _is_search(tool):
            tools.append(_SEARCH)
        elif not tool.name and tool.type not in ("", "custom"):
            continue  # a set of tools that another server would run
        elif not (is_searching and tool.name == SEARCH_TOOL):
            parameters = _parameters(tool)
            tools.append(Tool("function", function=ToolFunction(tool.name, tool.description, parameters)))
    return named_tools(tools)


def _parameters(tool: WireTool) -> ToolParameters:
    if tool.schema is None:
        return ToolParameters()
    decoding = decode.Decoding("ToolFunctionParameters")
    parameters = tool_parameters(decoding, tool.schema, "input_schema", "")
    if parameters is None or decoding.soft_error is not None:
        reason = (decoding.soft_error or "").replace(
            "Go struct field ToolFunctionParameters.input_schema", "Go value"
        )
        raise InvalidRequestError(f"invalid input_schema for tool {quoted(tool.name)}: {reason}")
    return parameters


def _tool_choice(choice: Any, tools: tuple[Tool, ...]) -> str:
    kind = choice.get("type", "auto")
    if kind in ("auto", "none") or not tools:
        return "none" if kind == "none" else "auto"
    if kind == "any":
        return "required"
    name = choice.get("name")
    if kind != "tool":
        raise InvalidRequestError('tool_choice: "type" must be "auto", "any", "tool" or "none"')
    if not any(tool.function.name == name for tool in tools):
        raise InvalidRequestError(f"tool_choice: tool '{name}' not found in provided tools")
    return f"function:{name}"


def _think(request: MessagesRequest) -> Think:
    kind = (request.thinking or {}).get("type")
    if kind in ("enabled", "disabled"):
        return bool(kind == "enabled")
    effort = request.output_config.get("effort")
    level = effort.strip().lower() if isinstance(effort, str) else ""
    if level == "none":
        return False
    level = {"xhigh": "high", "minimal": "low"}.get(level, level)
    return cast("Think", level) if level in ("low", "medium", "high", "max") else None


def _think_budget(request: MessagesRequest) -> int | None:
    """How many tokens the model may think for, if thinking was asked for with a bound."""
    thinking = request.thinking or {}
    budget = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled" or isinstance(budget, bool) or not isinstance(budget, int):
        return None
    return budget if budget > 0 else None


def _format(request: MessagesRequest) -> str:
    """A native `format`, or the schema of `output_config.format`, as JSON text."""
    wanted = request.output_config.get("format") or request.output_format
    if not wanted:
        return request.format
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema" or "schema" not in wanted:
        raise InvalidRequestError('output format: only {"type": "json_schema", "schema": ...} is supported')
    return encode(wanted["schema"]).decode()


def estimate_tokens(request: MessagesRequest) -> int:
    """What `message_start` reports for the prompt before it was counted: a quarter of its bytes, at least 1.

    Ollama: anthropic/anthropic.go.
    """
    size = len(request.system.encode("utf-8", "replace"))
    for message in request.messages:
        size += len(message.role)
        if isinstance(message.content, str):
            size += len(message.content.encode("utf-8", "replace"))
            continue
        for block in message.content:
            kind = block.get("type")
            if kind in ("text", "thinking"):
                size += len(str(block.get(kind) or "").encode("utf-8", "replace"))
            elif kind in ("tool_use", "tool_result"):
                size += len(encode(block))
    size += sum(tool.size_bytes for tool in request.tools)
    return max(size // 4, 1)
