"""What stands at the ends of a prompt: tokens that the tokenizer adds itself, and answers that go on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from corral.chat.families.family import Renderer
from corral.chat.templates.jinja import ChatTemplate
from corral.errors import InvalidRequestError
from corral.inference import prompting
from corral.inference.chats import BuiltInChat, JinjaChat, Quirks
from corral.inference.reply_parser import Replies
from corral.types import Message

SOURCE = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
USER, ANSWER = Message("user", "u"), Message("assistant", "a")


def runner(*, adds_bos: bool, adds_eos: bool = False) -> Any:
    facts = SimpleNamespace(bos_token="<s>", eos_token="</s>", adds_bos=adds_bos, adds_eos=adds_eos)
    return SimpleNamespace(facts=facts)


REPLIES = Replies(None, None, "{")


def profile() -> Any:
    quirks = Quirks(cuts_prompts=False, shows_bos=False, cuts_eos=True)
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    return SimpleNamespace(chat=JinjaChat(ChatTemplate.parse(SOURCE), REPLIES, quirks, "m", tokens))


def prompt_of(messages: list[Message], **facts: bool) -> str:
    fitted = prompting.fit_messages(
        profile(), messages, (), None, runner(**facts), num_ctx=100, is_allowed=False
    )
    return asyncio.run(fitted).text


@pytest.mark.parametrize(
    ("adds_bos", "adds_eos", "text"),
    [
        (False, False, "<s>u</s>"),
        (True, False, "u</s>"),
        (False, True, "<s>u"),
        (True, True, "u"),
    ],
)
def test_ends_of_a_template(adds_bos: bool, adds_eos: bool, text: str) -> None:
    """What the tokenizer adds is taken off, and nothing else: neither lost nor doubled."""
    assert prompt_of([USER], adds_bos=adds_bos, adds_eos=adds_eos) == text


def test_the_beginning_of_a_built_in_prompt() -> None:
    """A renderer's own BOS counts too, its end is left alone."""
    chat = BuiltInChat(Renderer("r", lambda _: "", bos="<b>"), REPLIES, Quirks(), "m", 0)
    assert prompting.without_doubled_bos("<b>x</s>", chat, runner(adds_bos=True, adds_eos=True)) == "x</s>"
    assert prompting.without_doubled_bos("<b>x", chat, runner(adds_bos=False)) == "<b>x"


def test_two_answers_at_the_end() -> None:
    """The last answer is the beginning of the reply, so there cannot be another one before it."""
    assert prompt_of([USER, ANSWER], adds_bos=True) == "u</s>a"
    with pytest.raises(InvalidRequestError, match="Cannot have 2 or more assistant messages"):
        prompt_of([USER, ANSWER, ANSWER], adds_bos=True)
