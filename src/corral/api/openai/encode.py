"""Lists of vectors, and the parts of JSON that chat completions and completions share. Keys in Ollama's order."""

from __future__ import annotations

import base64
import secrets
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corral.api.openai.protocol import EmbeddingsCall
from corral.golang.json import encode, encode_float32_list, encode_sorted, escape_string
from corral.inference.requests import EmbedResult
from corral.types import GenerationMetrics, ToolCall

_IS_BIG_ENDIAN = sys.byteorder == "big"
FINGERPRINT = b'"system_fingerprint":"fp_ollama"'


def id_digits() -> str:
    """A random number for an id, as Ollama makes them, but long enough never to come twice."""
    return f"{secrets.randbelow(10**24):024d}"


def new_id(kind: str) -> bytes:
    """A JSON string of `kind` and a random number."""
    return f'"{kind}-{id_digits()}"'.encode("ascii")


def tool_calls_json(calls: Sequence[ToolCall]) -> bytes:
    """A list of calls; the arguments of each are JSON in a text."""
    return b"[" + b",".join([_tool_call(call) for call in calls]) + b"]"


def _tool_call(call: ToolCall) -> bytes:
    parts = (
        b'{"id":',
        escape_string(call.id),
        b',"index":%d,"type":"function","function":{"name":' % call.index,
        escape_string(call.name),
        b',"arguments":',
        escape_string(arguments_json(call.arguments).decode("utf-8")),
        b"}}",
    )
    return b"".join(parts)


def arguments_json(arguments: Mapping[str, Any]) -> bytes:
    """Arguments in the order in which they were written; objects inside them sorted, as by Ollama."""
    members = [escape_string(name) + b":" + encode_sorted(value) for name, value in arguments.items()]
    return b"{" + b",".join(members) + b"}"


class UsageCount:
    """Tokens of all answers of a request: those of a prompt count once, however many answers it has."""

    def __init__(self, answers_per_prompt: int, *, has_details: bool) -> None:
        self._answers_per_prompt = answers_per_prompt
        self._has_details = has_details
        self._prompt: dict[int, int] = {}
        self._cached: dict[int, int] = {}
        self._completion_count = 0
        self._has_drafts = False
        self._accepted_count = self._rejected_count = 0

    def add(self, choice: int, metrics: GenerationMetrics | None) -> None:
        if metrics is None:
            return
        prompt = choice // self._answers_per_prompt
        self._prompt[prompt] = metrics.prompt_eval_count
        # The first answer to a prompt can fill the cache for the others; what it found there is what counts.
        self._cached.setdefault(prompt, metrics.cached_count)
        self._completion_count += metrics.eval_count
        if metrics.draft_count is not None and metrics.draft_accepted_count is not None:
            self._has_drafts = True
            self._accepted_count += metrics.draft_accepted_count
            self._rejected_count += metrics.draft_count - metrics.draft_accepted_count

    def json(self) -> bytes:
        prompt_count = sum(self._prompt.values())
        usage: dict[str, Any] = {
            "prompt_tokens": prompt_count,
            "completion_tokens": self._completion_count,
            "total_tokens": prompt_count + self._completion_count,
        }
        if self._has_details:
            usage["prompt_tokens_details"] = {"cached_tokens": sum(self._cached.values())}
        if self._has_drafts:
            usage["completion_tokens_details"] = {
                "accepted_prediction_tokens": self._accepted_count,
                "rejected_prediction_tokens": self._rejected_count,
            }
        return encode(usage)


def embedding_parts(call: EmbeddingsCall, result: EmbedResult) -> tuple[bytes, Iterator[bytes], bytes]:
    """The answer: what stands before the vectors, the vectors, and what stands after them."""
    rows = (
        b'{"object":"embedding","embedding":%s,"index":%d}' % (_vector(row, is_base64=call.is_base64), index)
        for index, row in enumerate(result.embeddings)
    )
    count = result.prompt_count
    usage = b'"usage":{"prompt_tokens":%d,"total_tokens":%d}' % (count, count)
    return b'{"object":"list","data":[', rows, b'],"model":%s,%s}\n' % (escape_string(call.model), usage)


def _vector(row: Sequence[float], *, is_base64: bool) -> bytes:
    if not is_base64:
        return encode_float32_list(row)
    numbers = row if isinstance(row, array) and row.typecode == "f" else array("f", row)
    if _IS_BIG_ENDIAN:
        numbers = numbers[:]
        numbers.byteswap()
    return b'"' + base64.b64encode(numbers.tobytes()) + b'"'


def known_reason(done_reason: str) -> str:
    """A reason that OpenAI's clients know: for them an answer whose time was up is one that was cut."""
    return "length" if done_reason == "deadline" else done_reason
