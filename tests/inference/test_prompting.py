"""What stands at the ends of a prompt: tokens that the tokenizer adds itself, and answers that go on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from corral.chat.templates.jinja import ChatTemplate
from corral.errors import InvalidRequestError
from corral.inference import prompting
from corral.types import Message

SOURCE = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
USER, ANSWER = Message("user", "u"), Message("assistant", "a")


def runner(*, adds_bos: bool, adds_eos: bool = False) -> Any:
    facts = SimpleNamespace(bos_token="<s>", eos_token="</s>", adds_bos=adds_bos, adds_eos=adds_eos)
    return SimpleNamespace(facts=facts)


def profile(path: str = "jinja", bos: str = "") -> Any:
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    return SimpleNamespace(
        path=path,
        renderer=SimpleNamespace(bos=bos) if path == "renderer" else None,
        chat_template=ChatTemplate.parse(SOURCE),
        special_tokens=lambda: tokens,
    )


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
    found = profile("renderer", "<bos>")
    assert prompting.without_doubled_bos("<bos>x</s>", found, runner(adds_bos=True, adds_eos=True)) == "x</s>"
    assert prompting.without_doubled_bos("<bos>x", found, runner(adds_bos=False)) == "<bos>x"


def test_two_answers_at_the_end() -> None:
    """The last answer is the beginning of the reply, so there cannot be another one before it."""
    assert prompt_of([USER, ANSWER], adds_bos=True) == "u</s>a"
    with pytest.raises(InvalidRequestError, match="Cannot have 2 or more assistant messages"):
        prompt_of([USER, ANSWER, ANSWER], adds_bos=True)
