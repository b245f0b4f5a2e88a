"""The request bodies of `/api`: which members each has, and how they become what the services take."""

from __future__ import annotations

from typing import Any

from corral.api.reading import decode, tool_schemas
from corral.api.reading.tool_choice import read_tool_choice
from corral.inference.requests import (
    ChatRequest,
    EmbedRequest,
    GenerateRequest,
    InferenceOptions,
)

_COMMON: dict[str, decode.Decode] = {
    "model": decode.string,
    "stream": decode.boolean,
    "format": decode.raw_json,
    "keep_alive": decode.keep_alive,
    "options": decode.mapping,
    "think": decode.think,
    "truncate": decode.boolean,
    "shift": decode.boolean,
    "_debug_render_only": decode.boolean,
    "logprobs": decode.boolean,
    "top_logprobs": decode.integer,
    "grammar": decode.string,
    "format_strict": decode.boolean,
}
GENERATE: dict[str, decode.Decode] = {
    **_COMMON,
    "prompt": decode.string,
    "suffix": decode.string,
    "system": decode.string,
    "template": decode.string,
    "context": decode.integers,
    "raw": decode.boolean,
    "images": decode.images,
}
CHAT: dict[str, decode.Decode] = {
    **_COMMON,
    "messages": decode.messages,
    "tools": tool_schemas.tools,
    "tool_choice": decode.any_value,
}
EMBED: dict[str, decode.Decode] = {
    "model": decode.string,
    "input": decode.any_value,
    "truncate": decode.boolean,
    "dimensions": decode.integer,
    "keep_alive": decode.keep_alive,
    "options": decode.mapping,
}
EMBEDDINGS: dict[str, decode.Decode] = {
    "model": decode.string,
    "prompt": decode.string,
    "keep_alive": decode.keep_alive,
    "options": decode.mapping,
}
NAMES: dict[str, decode.Decode] = {"model": decode.string, "name": decode.string}
SHOW: dict[str, decode.Decode] = {
    **NAMES,
    "system": decode.string,
    "template": decode.string,
    "verbose": decode.boolean,
    "options": decode.mapping,
}
COPY: dict[str, decode.Decode] = {"source": decode.string, "destination": decode.string}
TRANSFER: dict[str, decode.Decode] = {
    **NAMES,
    "insecure": decode.boolean,
    "username": decode.string,
    "password": decode.string,
    "stream": decode.boolean,
    "rate_limit": decode.any_value,
    "verify": decode.boolean,
}
CREATE: dict[str, decode.Decode] = {
    "model": decode.string,
    "name": decode.string,
    "stream": decode.boolean,
    "from": decode.string,
    "remote_host": decode.string,
    "files": decode.string_map,
    "adapters": decode.string_map,
    "draft_files": decode.string_map,
    "draft_quantize": decode.string,
    "template": decode.string,
    "system": decode.string,
    "license": decode.any_value,
    "parameters": decode.mapping,
    "messages": decode.messages,
    "quantize": decode.string,
    "quantization": decode.string,
    "renderer": decode.string,
    "parser": decode.string,
    "requires": decode.string,
    "info": decode.mapping,
    "modelfile": decode.any_value,
    "imatrix": decode.string,
}
LOCAL_BLOB: dict[str, decode.Decode] = {
    "path": decode.string,
    "mode": decode.string,
    "token": decode.string,
    "stream": decode.boolean,
}
VERIFY: dict[str, decode.Decode] = {
    "model": decode.string,
    "models": decode.strings,
    "stream": decode.boolean,
}
_MODEL: dict[str, decode.Decode] = {
    "model": decode.string,
    "keep_alive": decode.keep_alive,
    "options": decode.mapping,
}
TOKENIZE: dict[str, decode.Decode] = {
    **_MODEL,
    "content": decode.string,
    "text": decode.string,
    "prompt": decode.string,
    "add_special": decode.boolean,
    "parse_special": decode.boolean,
    "with_pieces": decode.boolean,
}
DETOKENIZE: dict[str, decode.Decode] = {**_MODEL, "tokens": decode.integers}


def _common(values: dict[str, Any]) -> InferenceOptions:
    return InferenceOptions(
        model=values.get("model", ""),
        format=values.get("format", ""),
        keep_alive_ns=values.get("keep_alive"),
        options=values.get("options"),
        think=values.get("think"),
        truncate=values.get("truncate"),
        shift=values.get("shift"),
        is_render_only=values.get("_debug_render_only", False),
        logprobs=values.get("logprobs", False),
        top_logprobs=values.get("top_logprobs", 0),
        grammar=values.get("grammar", ""),
        is_format_strict=values.get("format_strict", False),
    )


def read_generate(body: bytes, max_depth: int) -> tuple[GenerateRequest, bool]:
    """The request, and whether to stream. Raises InvalidRequestError."""
    values = decode.decode_request(body, "GenerateRequest", GENERATE, max_depth=max_depth)
    request = GenerateRequest(
        common=_common(values),
        prompt=values.get("prompt", ""),
        suffix=values.get("suffix", ""),
        system=values.get("system", ""),
        template=values.get("template", ""),
        context=tuple(values["context"]) if "context" in values else None,
        is_raw=values.get("raw", False),
        images=values.get("images", ()),
    )
    return request, values.get("stream", True)


def read_chat(body: bytes, max_depth: int) -> tuple[ChatRequest, bool]:
    """The request, and whether to stream. Raises InvalidRequestError."""
    values = decode.decode_request(body, "ChatRequest", CHAT, max_depth=max_depth)
    request = ChatRequest(
        common=_common(values),
        messages=values.get("messages", ()),
        tools=values.get("tools", ()),
        tool_choice=read_tool_choice(values.get("tool_choice")),
    )
    return request, values.get("stream", True)


def read_embed(body: bytes, max_depth: int) -> EmbedRequest:
    """`/api/embed`. An unreadable `input` is reported after the name was checked, and before it is looked up.

    Raises:
        InvalidRequestError
    """
    values = decode.decode_request(body, "EmbedRequest", EMBED, max_depth=max_depth)
    given, is_readable = values.get("input"), True
    if given is None or given == "":
        inputs: tuple[str, ...] = ()
    elif isinstance(given, str):
        inputs = (given,)
    elif isinstance(given, list) and all(isinstance(text, str) for text in given):
        inputs = tuple(given)
    else:
        inputs, is_readable = (), False
    return EmbedRequest(
        model=values.get("model", ""),
        inputs=inputs,
        truncate=values.get("truncate", True),
        dimensions=values.get("dimensions", 0),
        keep_alive_ns=values.get("keep_alive"),
        options=values.get("options"),
        is_readable=is_readable,
    )


def read_embeddings(body: bytes, max_depth: int) -> EmbedRequest:
    """The older `/api/embeddings`: one text, no cutting, vectors as the engine gives them."""
    values = decode.decode_request(body, "EmbeddingRequest", EMBEDDINGS, max_depth=max_depth)
    prompt = values.get("prompt", "")
    return EmbedRequest(
        model=values.get("model", ""),
        inputs=(prompt,) if prompt else (),
        truncate=False,
        keep_alive_ns=values.get("keep_alive"),
        options=values.get("options"),
        is_legacy=True,
    )
