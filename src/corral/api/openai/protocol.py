"""The bodies of `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corral.api.openai.messages import MESSAGES, convert_messages
from corral.api.openai.sampling import SAMPLING, choice_count, sampling_options
from corral.api.openai.shared import format_of, go_type, think_of_effort
from corral.api.reading import decode, tool_schemas
from corral.api.reading.fields import Structure
from corral.api.reading.tool_choice import read_tool_choice, restrict_tools
from corral.errors import InvalidRequestError
from corral.inference.requests import ChatRequest, EmbedRequest, GenerateRequest, InferenceOptions

_MAX_PROMPTS = 2048

CHAT: dict[str, decode.Decode] = {
    **SAMPLING,
    "messages": MESSAGES,
    "max_completion_tokens": decode.integer,
    "response_format": Structure(
        "ResponseFormat",
        "openai.ResponseFormat",
        {
            "type": decode.string,
            "json_schema": Structure("JsonSchema", "openai.JsonSchema", {"schema": decode.any_value}),
            "schema": decode.any_value,
        },
    ),
    "tools": tool_schemas.tools,
    "tool_choice": decode.any_value,
    "parallel_tool_calls": decode.boolean,
    "reasoning": Structure("Reasoning", "openai.Reasoning", {"effort": decode.string}),
    "reasoning_effort": decode.string,
    "reasoning_format": decode.any_value,
    "logprobs": decode.boolean,
    "top_logprobs": decode.integer,
}


def _prompts(
    decoding: decode.Decoding, value: Any, path: str, text: str
) -> list[str | tuple[int, ...]] | None:
    """One prompt or several, each a text or a list of tokens."""
    if isinstance(value, str):
        return [decode.string(decoding, value, path, text) or ""]
    if type(value) is not list:
        decoding.mismatch(value, path, "string")
        return None
    if len(value) > _MAX_PROMPTS and not isinstance(value[0], int):
        raise InvalidRequestError(f"a request may have {_MAX_PROMPTS} prompts at most")
    if value and all(isinstance(element, int) and not isinstance(element, bool) for element in value):
        return [tuple(value)]
    prompts: list[str | tuple[int, ...]] = []
    for element in value:
        if isinstance(element, str):
            prompts.append(decode.string(decoding, element, path, "") or "")
        elif (tokens := decode.integers(decoding, element, path, "")) is not None:
            prompts.append(tuple(tokens))
    return prompts


COMPLETION: dict[str, decode.Decode] = {
    **SAMPLING,
    "prompt": _prompts,
    "suffix": decode.string,
    "logprobs": decode.integer,
    "echo": decode.boolean,
    "best_of": decode.integer,
}
EMBEDDINGS: dict[str, decode.Decode] = {
    "model": decode.string,
    "input": decode.any_value,
    "dimensions": decode.integer,
    "encoding_format": decode.string,
    "user": decode.any_value,
    "keep_alive": decode.keep_alive,
    "options": decode.mapping,
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a caller wants the answer. `user` is who the client says it serves, for the log."""

    is_stream: bool
    choice_count: int
    has_stream_usage: bool
    wants_usage_details: bool
    user: str

    @classmethod
    def read(cls, values: dict[str, Any]) -> _Answer:
        usage, user = values.get("usage"), values.get("safety_identifier", values.get("user"))
        return cls(
            is_stream=values.get("stream", False),
            choice_count=choice_count(values),
            has_stream_usage=values.get("stream_options", {}).get("include_usage", False),
            wants_usage_details=isinstance(usage, dict) and usage.get("include") is True,
            user=user if isinstance(user, str) else "",
        )


@dataclass(frozen=True, slots=True)
class ChatCall:
    """`/v1/chat/completions`."""

    request: ChatRequest
    answer: _Answer
    wants_reasoning_content: bool


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """`/v1/completions`: a request for each prompt. `echoes`: the prompt comes before the text.

    `best_of` answers are made of which `answer.choice_count` are given; 0 makes as many as are given.
    """

    requests: tuple[GenerateRequest, ...]
    answer: _Answer
    echoes: bool
    logprob_count: int
    best_of: int


@dataclass(frozen=True, slots=True)
class EmbeddingsCall:
    """`/v1/embeddings`."""

    request: EmbedRequest
    model: str
    is_base64: bool
    user: str


def read_chat(body: bytes, max_depth: int) -> ChatCall:
    """Raises InvalidRequestError."""
    values = decode.decode_request(body, "ChatCompletionRequest", CHAT, max_depth=max_depth, package="openai")
    if not values.get("messages"):
        raise InvalidRequestError("[] is too short - 'messages'")
    answer = _Answer.read(values)
    reasoning = values.get("reasoning")
    effort = values.get("reasoning_effort", "") if reasoning is None else reasoning.get("effort", "")
    options, implied = sampling_options(values, {"temperature": 1.0, "top_p": 1.0})
    limit = values.get("max_tokens", values.get("max_completion_tokens"))
    if limit is not None:
        options["num_predict"] = limit
    if stops := _chat_stops(values.get("stop")):
        options["stop"] = stops
    choice = read_tool_choice(values.get("tool_choice"))
    common = InferenceOptions(
        model=values.get("model", ""),
        format=format_of(values.get("response_format"), "response_format"),
        keep_alive_ns=values.get("keep_alive"),
        options=options,
        implied=implied,
        think=think_of_effort(effort) if effort else values.get("think"),
        is_think_optional=True,
        is_render_only=values.get("_debug_render_only", False),
        logprobs=values.get("logprobs", False),
        top_logprobs=values.get("top_logprobs", 0),
        logit_bias=values.get("logit_bias", ()),
        is_format_strict=values.get("format_strict", False),
    )
    request = ChatRequest(
        common=common,
        messages=convert_messages(values["messages"]),
        tools=restrict_tools(
            tool_schemas.named_tools(values.get("tools", ())), values.get("tool_choice"), choice
        ),
        tool_choice=choice,
        parallel_tool_calls=values.get("parallel_tool_calls", True),
    )
    return ChatCall(
        request,
        answer,
        wants_reasoning_content=values.get("reasoning_format") == "deepseek",
    )


def _chat_stops(value: Any) -> list[str]:
    """The texts that end an answer; an empty one, which many clients send for none, would end it at once."""
    if isinstance(value, str):
        return [value] if value else []
    return [stop for stop in value if stop and isinstance(stop, str)] if isinstance(value, list) else []


def read_completion(body: bytes, max_depth: int) -> CompletionCall:
    """Raises InvalidRequestError."""
    values = decode.decode_request(
        body, "CompletionRequest", COMPLETION, max_depth=max_depth, package="openai"
    )
    answer = _Answer.read(values)
    defaults = {"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
    if values.get("top_p") == 0:
        del values["top_p"]
    options, implied = sampling_options(values, defaults)
    if "max_tokens" in values:
        options["num_predict"] = values["max_tokens"]
    if stops := _completion_stops(values.get("stop")):
        options["stop"] = stops
    logprob_count = max(values.get("logprobs", 0), 0)
    best_of = values.get("best_of", 0)
    if best_of and not best_of >= answer.choice_count:
        raise InvalidRequestError("best_of must be at least n")
    if best_of > 1 and answer.is_stream and best_of != answer.choice_count:
        raise InvalidRequestError("best_of cannot be streamed: the best answer is known at the end only")
    common = InferenceOptions(
        model=values.get("model", ""),
        keep_alive_ns=values.get("keep_alive"),
        options=options,
        implied=implied,
        think=values.get("think"),
        is_think_optional=True,
        is_render_only=values.get("_debug_render_only", False),
        logprobs=logprob_count > 0,
        top_logprobs=logprob_count,
        logit_bias=values.get("logit_bias", ()),
    )
    prompts = values.get("prompt") or [""]
    if len(prompts) * max(best_of, answer.choice_count) > _MAX_PROMPTS:
        raise InvalidRequestError(f"a request may ask for {_MAX_PROMPTS} answers at most")
    requests = tuple(_generate(common, prompt, values.get("suffix", "")) for prompt in prompts)
    return CompletionCall(requests, answer, values.get("echo", False), logprob_count, best_of)


def _generate(common: InferenceOptions, prompt: str | tuple[int, ...], suffix: str) -> GenerateRequest:
    if isinstance(prompt, str):
        return GenerateRequest(common, prompt, suffix, is_template_optional=True)
    return GenerateRequest(common, prompt_tokens=prompt)


def _completion_stops(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if not isinstance(value, list):
        return []
    for stop in value:
        if not isinstance(stop, str):
            raise InvalidRequestError(f"invalid type for 'stop' field: {go_type(stop)}")
    return [stop for stop in value if stop]


def read_embeddings(body: bytes, max_depth: int) -> EmbeddingsCall:
    """Raises InvalidRequestError."""
    values = decode.decode_request(body, "EmbedRequest", EMBEDDINGS, max_depth=max_depth, package="openai")
    encoding = values.get("encoding_format", "")
    if encoding.lower() not in ("", "float", "base64"):
        raise InvalidRequestError(
            f"Invalid value for 'encoding_format' = {encoding}. Supported values: ['float', 'base64']."
        )
    given = values.get("input")
    if given is None or given == []:
        raise InvalidRequestError("invalid input")
    model, user = values.get("model", ""), values.get("user")
    inputs = [given] if isinstance(given, str) else given
    is_readable = isinstance(inputs, list) and all(isinstance(text, str) for text in inputs)
    request = EmbedRequest(
        model=model,
        inputs=tuple(inputs) if is_readable else (),
        dimensions=values.get("dimensions", 0),
        keep_alive_ns=values.get("keep_alive"),
        options=values.get("options"),
        is_readable=is_readable,
    )
    return EmbeddingsCall(request, model, encoding.lower() == "base64", user if isinstance(user, str) else "")
