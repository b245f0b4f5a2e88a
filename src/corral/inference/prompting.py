"""From a conversation to the text that the engine completes: message list, rendering, cutting to the context.

Ollama: server/prompt.go. Token counts come from the engine; a text that cannot be too long (it has fewer bytes
than the context has tokens) is never sent there to be counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from corral.chat import marks
from corral.chat.parsing.thinking import ThinkingParser
from corral.errors import CapabilityError, ContextOverflowError
from corral.inference.chats import Chat
from corral.inference.profile import ModelProfile
from corral.runner.interface import Runner
from corral.types import Message, SamplingOptions, Think, Tool

# Tokens that the engine needs for one image, as Ollama estimates it.
_TOKENS_PER_IMAGE = 768
_OVERFLOW_TEXT = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt,"
    " adjust the context length in settings, or use a model with a longer context length"
)
_IMAGE_TAG = re.compile(r"\[img-(\d+)\]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt with `[img-N]` tags, the images of the messages kept, and how many messages were not."""

    text: str
    images: tuple[bytes, ...] = ()
    dropped_count: int = 0


def chat_messages(profile: ModelProfile, messages: Sequence[Message]) -> list[Message]:
    """The model's stored messages and the request's, with the model's system text unless the request has one.

    Raises:
        CapabilityError: several images in a message for a family that takes one.
    """
    model = profile.model
    conversation = [*model.messages, *messages]
    if model.system and not (messages and messages[0].role == "system"):
        conversation.insert(0, Message("system", model.system))
    quirks = profile.chat.quirks
    if quirks.takes_one_image and any(len(message.images) > 1 for message in conversation):
        raise CapabilityError("this model only supports one image while more than one image requested")
    return _without_old_thinking(conversation) if quirks.drops_old_thinking else conversation


def _without_old_thinking(messages: list[Message]) -> list[Message]:
    """Take a leading think block out of the answers before the last question."""
    last_user = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
    return [
        replace(message, content=_after_thinking(message.content))
        if message.role == "assistant" and i < last_user
        else message
        for i, message in enumerate(messages)
    ]


def _after_thinking(content: str) -> str:
    if marks.OPEN_THINK not in content:
        return content
    parser = ThinkingParser(*marks.THINK)
    return parser.feed(content).content + parser.finish().content


async def fit_messages(
    profile: ModelProfile,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    think: Think,
    runner: Runner,
    *,
    num_ctx: int,
    is_allowed: bool,
) -> Prompt:
    """Render the longest end of the conversation that fits `num_ctx` tokens, system messages always kept.

    The last message is kept whatever its size. With `is_allowed` False nothing is dropped.

    Raises:
        TemplateError, InvalidRequestError: as `Chat.prompt`.
    """
    chat = profile.chat

    def kept_from(start: int) -> list[Message]:
        return [message for message in messages[:start] if message.role == "system"] + list(messages[start:])

    async def fits(start: int) -> bool:
        kept = kept_from(start)
        text = await chat.prompt([replace(message, images=()) for message in kept], tools, think)
        images = sum(len(message.images) for message in kept) if profile.has_projector else 0
        limit = num_ctx - images * _TOKENS_PER_IMAGE
        return limit >= 0 and await _has_at_most(runner, text, limit)

    start = 0
    if is_allowed and len(messages) > 1 and not await fits(0):
        # Fewer messages never make a longer prompt, so the first start that fits can be bisected.
        low, high = 1, len(messages) - 1
        while low < high:
            middle = (low + high) // 2
            if await fits(middle):
                high = middle
            else:
                low = middle + 1
        start = high
    kept = kept_from(start)
    text = await chat.prompt(kept, tools, think)
    if not chat.quirks.shows_bos:
        text = without_doubled_bos(text, chat, runner)
    images = tuple(image for message in kept for image in message.images)
    return Prompt(text, images, len(messages) - len(kept))


async def count_tokens(
    profile: ModelProfile, messages: Sequence[Message], tools: Sequence[Tool], think: Think, runner: Runner
) -> int:
    """Tokens of a whole conversation as the engine would be given it; images by estimate.

    Raises:
        TemplateError, InvalidRequestError: as `Chat.prompt`.
    """
    bare = [replace(message, images=()) for message in messages]
    text = without_doubled_bos(await profile.chat.prompt(bare, tools, think), profile.chat, runner)
    image_count = sum(len(message.images) for message in messages)
    return len(await runner.tokenize(text, add_special=True)) + image_count * _TOKENS_PER_IMAGE


def without_doubled_bos(text: str, chat: Chat, runner: Runner) -> str:
    """Take off a BOS that the tokenizer will add itself, and an EOS that a template in the weights wrote likewise."""
    if chat.quirks.cuts_eos and runner.facts.adds_eos and runner.facts.eos_token:
        text = text.removesuffix(runner.facts.eos_token)
    if not runner.facts.adds_bos:
        return text
    written = (chat.bos, marks.BOS, runner.facts.bos_token)
    return next((text[len(bos) :] for bos in written if bos and text.startswith(bos)), text)


async def _has_at_most(runner: Runner, text: str, limit: int) -> bool:
    # A token stands for at least one byte.
    if len(text.encode("utf-8", "replace")) <= limit:
        return True
    return len(await runner.tokenize(text)) <= limit


async def fit_tokens(
    text: str,
    runner: Runner,
    sampling: SamplingOptions,
    *,
    num_ctx: int,
    is_allowed: bool,
    has_shift: bool,
) -> tuple[str | list[int], int]:
    """Cut a text prompt to the context; returns what to send and how many tokens were left out.

    With shift the first `num_keep` tokens and the newest ones stay, and room for an answer.

    Raises:
        ContextOverflowError: too long, and the model cannot shift its context.
    """
    # A tokenizer may add a BOS, an EOS and a leading space to what the text has.
    if not is_allowed or len(text.encode("utf-8", "replace")) + 3 <= num_ctx - 1:
        return text, 0
    tokens = await runner.tokenize(text, add_special=True)
    if len(tokens) <= num_ctx - 1:
        return list(tokens), 0
    if not has_shift:
        raise ContextOverflowError(_OVERFLOW_TEXT)
    keep = len(tokens) if sampling.num_keep < 0 else sampling.num_keep + int(runner.facts.adds_bos)
    keep = min(keep, num_ctx - 1)
    target = num_ctx - max((num_ctx - keep) // 2, 1)
    newest = max(target - keep, 0)
    cut = [*tokens[:keep], *(tokens[-newest:] if newest else ())]
    return cut, len(tokens) - len(cut)


def with_media_markers(text: str, images: Sequence[bytes], marker: str) -> tuple[str, tuple[bytes, ...]]:
    """Replace `[img-N]` tags by the engine's marker; returns the text and the images in marker order."""
    ordered: list[bytes] = []

    def place(match: re.Match[str]) -> str:
        number = int(match[1])
        if number >= len(images):
            return match[0]
        ordered.append(images[number])
        return marker

    marked = _IMAGE_TAG.sub(place, text)
    if marked.endswith(marker) and ordered:
        marked += "\n"  # the engine starts from a token of text, and ends with an assertion if there is none
    return marked, tuple(ordered)
