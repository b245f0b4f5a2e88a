"""The response object and the items of its output, members in the order in which a whole answer has them.

A stream writes the same objects with their members sorted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.api.responses.protocol import ResponsesRequest
from corral.types import GenerationMetrics, Logprob, ToolCall

Item = dict[str, Any]


def response_object(
    request: ResponsesRequest,
    response_id: str,
    created_s: int,
    *,
    is_stored: bool,
    completed_s: int | None = None,
    output: list[Item] | None = None,
    usage: Item | None = None,
) -> Item:
    """A response; one that is under way has no `completed_s`."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_s,
        "completed_at": completed_s,
        "status": "in_progress" if completed_s is None else "completed",
        "incomplete_details": None,
        "model": request.model,
        "previous_response_id": request.previous_response_id or None,
        "instructions": request.instructions or None,
        "output": output,
        "error": None,
        "tools": [_tool_echo(tool) for tool in request.tools],
        "tool_choice": request.tool_choice or "auto",
        "truncation": request.truncation,
        "parallel_tool_calls": request.parallel_tool_calls,
        "text": {"format": _format_echo(request.text_format)},
        "top_p": 1 if request.top_p is None else request.top_p,
        "presence_penalty": _number(request.options, "presence_penalty"),
        "frequency_penalty": _number(request.options, "frequency_penalty"),
        "top_logprobs": request.top_logprobs if request.has_logprobs else 0,
        "temperature": 1 if request.temperature is None else request.temperature,
        "reasoning": dict(request.reasoning) if request.reasoning is not None else None,
        "usage": usage,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "store": is_stored,
        "background": request.is_background,
        "service_tier": "default",
        "metadata": dict(request.metadata),
        "safety_identifier": None,
        "prompt_cache_key": None,
    }


def _number(options: Mapping[str, Any], name: str) -> int | float:
    value = options.get(name)
    return value if isinstance(value, int | float) else 0


def _format_echo(wanted: Mapping[str, Any] | None) -> Item:
    if wanted is None:
        return {"type": "text"}
    return {
        name: wanted[name] for name in ("type", "name", "schema", "strict") if wanted.get(name) is not None
    }


def _tool_echo(tool: Item) -> Item:
    echo: Item = {
        "type": tool.get("type", ""),
        "name": tool.get("name", ""),
        "description": tool.get("description"),
        "strict": tool.get("strict"),
        "parameters": _sorted(tool.get("parameters")),
    }
    if tool.get("type") == "namespace" and isinstance(tool.get("tools"), list):
        echo["tools"] = [_tool_echo(member) for member in tool["tools"] if isinstance(member, dict)]
    return echo


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(element) for element in value] if isinstance(value, list) else value


def usage_object(metrics: GenerationMetrics | None, *, has_details: bool) -> Item:
    """Counts of tokens; those found in the cache only for clients that know of them, as Ollama reports 0."""
    counts = metrics or GenerationMetrics()
    return {
        "input_tokens": counts.prompt_eval_count,
        "output_tokens": counts.eval_count,
        "total_tokens": counts.prompt_eval_count + counts.eval_count,
        "input_tokens_details": {"cached_tokens": counts.cached_count if has_details else 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def text_part(text: str, logprobs: list[Item]) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def summary_part(text: str) -> Item:
    return {"type": "summary_text", "text": text}


def message_item(item_id: str, text: str, logprobs: list[Item], status: str = "completed") -> Item:
    return {
        "id": item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [text_part(text, logprobs)],
    }


def reasoning_item(item_id: str, text: str) -> Item:
    return {
        "id": item_id,
        "type": "reasoning",
        "summary": [summary_part(text)],
        "encrypted_content": text,
    }


def call_item(item_id: str, call: ToolCall, arguments: str, status: str = "completed") -> Item:
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def custom_call_item(item_id: str, call: ToolCall, text: str, status: str = "completed") -> Item:
    return {
        "id": item_id,
        "type": "custom_tool_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "input": text,
    }


def logprob_entries(logprobs: tuple[Logprob, ...]) -> list[Item]:
    """Log probabilities in this API's form."""
    return [
        {
            "token": entry.token,
            "bytes": list(entry.bytes),
            "logprob": entry.logprob,
            "top_logprobs": [
                {"token": rival.token, "bytes": list(rival.bytes), "logprob": rival.logprob}
                for rival in entry.top
            ],
        }
        for entry in logprobs
    ]
