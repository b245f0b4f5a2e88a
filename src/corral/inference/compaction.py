"""A conversation as a summary that takes its place: the model writes it, in as many steps as its context needs.

The model is shown a transcript and not the turns themselves, so that any template will do, and so that a conversation
longer than the context can be read in parts, each with the summary of those before it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from corral.errors import ContextOverflowError
from corral.inference.requests import ChatRequest, Emit, Immediate, InferenceOptions
from corral.types import Chunk, GenerationMetrics, Message

ChatCall = Callable[[ChatRequest, Emit], Awaitable[Immediate | None]]

_MAX_SUMMARY_TOKENS = 1024
_MAX_PARTS = 64
_MIN_PART_CHARS = 256
# Of a longer text the engine would take seconds to count the tokens.
_MAX_PART_CHARS = 400_000
# What a part may fill of the context: the rest is for the summary so far, the template and the answer.
_PART_SHARE = 0.4
_TASK = (
    "Above is a conversation between a user and an assistant. Write a summary with which the assistant can go on"
    " without having seen it: what the user wants, what was decided and done, what tools gave back, names, numbers,"
    " paths and commands that are still needed, and what is left to do. Write the summary alone."
)
_BETWEEN = "\n\n"
_EARLIER = "Summary of what was said before:"


@dataclass(frozen=True, slots=True)
class Summary:
    """The text, and the counts of all steps."""

    text: str
    metrics: GenerationMetrics


async def summarise(chat: ChatCall, common: InferenceOptions, messages: Sequence[Message]) -> Summary:
    """Summarise a conversation; `common` names the model and its options.

    Raises:
        ContextOverflowError: the context is too small for any of it.
        CorralError: as a chat.
    """
    transcript = transcript_of(messages)
    # The temperature that the client's API has by default is for answers.
    options = {**(common.options or {}), "num_predict": _MAX_SUMMARY_TOKENS, "temperature": 0}
    common = replace(common, options=options, implied=frozenset(), format="")
    common = replace(common, think=False, is_think_optional=True, truncate=False)
    part_chars = min(max(len(transcript), _MIN_PART_CHARS), _MAX_PART_CHARS)
    while True:
        try:
            return await _in_parts(chat, common, _parts(transcript, part_chars))
        except ContextOverflowError as error:
            smaller = _smaller(part_chars, error)
            if smaller < _MIN_PART_CHARS:
                raise
            part_chars = smaller


def _smaller(part_chars: int, error: ContextOverflowError) -> int:
    """The length of a part that will fit, as far as the error tells."""
    if error.num_ctx and error.prompt_count:
        fitting = int(part_chars * _PART_SHARE * error.num_ctx / error.prompt_count)
        return min(fitting, part_chars // 2)
    return part_chars // 2


def _parts(transcript: str, part_chars: int) -> list[str]:
    """The transcript in parts that end between two turns, where they can; of too many the newest."""
    parts = [""]
    for turn in transcript.split(_BETWEEN):
        for i in range(0, max(len(turn), 1), part_chars):
            piece = turn[i : i + part_chars]
            if parts[-1] and len(parts[-1]) + len(_BETWEEN) + len(piece) > part_chars:
                parts.append(piece)
            else:
                parts[-1] = f"{parts[-1]}{_BETWEEN}{piece}" if parts[-1] else piece
    return parts[-_MAX_PARTS:]


async def _in_parts(chat: ChatCall, common: InferenceOptions, parts: Sequence[str]) -> Summary:
    text = ""
    prompt_count = cached_count = answer_count = 0
    for part in parts:
        earlier = f"{_EARLIER}\n{text}\n\n" if text else ""
        message = Message("user", f"{earlier}{part}\n\n{_TASK}")
        chunks: list[Chunk] = []

        async def collect(new: list[Chunk], into: list[Chunk] = chunks) -> None:
            into.extend(new)

        await chat(ChatRequest(common, (message,)), collect)
        text = "".join(chunk.content for chunk in chunks).strip()
        metrics = next((chunk.metrics for chunk in chunks if chunk.metrics is not None), None)
        if metrics is not None:
            prompt_count += metrics.prompt_eval_count
            cached_count += metrics.cached_count
            answer_count += metrics.eval_count
    counts = GenerationMetrics(
        prompt_eval_count=prompt_count, eval_count=answer_count, cached_count=cached_count
    )
    return Summary(text, counts)


def transcript_of(messages: Sequence[Message]) -> str:
    """A conversation as a text that any model can read; thinking and images are left out."""
    return _BETWEEN.join(line for message in messages for line in _lines(message))


def _lines(message: Message) -> list[str]:
    lines = []
    if message.content:
        who = f"{message.role} ({message.tool_name})" if message.tool_name else message.role
        lines.append(f"[{who}] {message.content}")
    if message.images:
        lines.append(f"[{message.role}] ({len(message.images)} images)")
    for call in message.tool_calls:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        lines.append(f"[{message.role} calls {call.name}] {arguments}")
    return lines
