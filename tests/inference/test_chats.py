"""Which way a model talks, and what follows from it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corral.chat.gotemplate import Template
from corral.chat.templates.jinja import ChatTemplate
from corral.config import Settings
from corral.errors import InvalidRequestError, TemplateError
from corral.inference.chats import BuiltInChat, Chat, GoTemplateChat, JinjaChat, Quirks
from corral.inference.profile import ModelProfile, Profiles
from corral.inference.prompting import chat_messages
from corral.inference.reply_parser import Replies
from corral.names import ModelName
from corral.store.config_blob import ModelConfig
from corral.store.models import Model, ModelStore
from corral.types import Message, Tool, ToolFunction, ToolParameters
from tests.conftest import FIXTURES

HARMONY = (
    "<|start|>{{ range .Tools }}{{ .Function.Name }}{{ end }}{{ range .Messages }}{{ .Content }}{{ end }}"
    "{{ .ThinkLevel }}<|end|>"
)
TOOLS = (Tool("function", None, ToolFunction("a-b", "", ToolParameters("object"))),)
SEEN = Message("user", "q", images=(b"x",))


def profile(
    fixture: str = "say", template: str | None = None, name: str = "m", **config: Any
) -> ModelProfile:
    weights = FIXTURES / f"{fixture}.gguf"
    model = Model(
        ModelName.parse(name), "0" * 64, 0, 0, ModelConfig(**config), (), weights, template=template
    )
    return Profiles(Settings.from_env({"HOME": "/nowhere"}), ModelStore(Path("/nowhere"))).describe(model)


def prompt(chat: Chat, *messages: Message, tools: tuple[Tool, ...] = (), think: Any = None) -> str:
    return asyncio.run(chat.prompt(messages, tools, think))


def test_quirks_of_the_three_kinds() -> None:
    """Ollama makes the first two kinds of prompt itself and leaves the third to the engine."""
    built_in = profile(renderer="qwen3.5", parser="qwen3.5").chat
    go = profile(template="{{ .Prompt }}{{ .Response }}").chat
    jinja = profile("jinja-tools").chat
    assert [type(chat) for chat in (built_in, go, jinja)] == [BuiltInChat, GoTemplateChat, JinjaChat]
    by_tags = Quirks(emits_empty_chunks=True, reads_given_think=False, reads_unasked_calls=False)
    assert built_in.quirks == Quirks()
    assert go.quirks == by_tags
    assert jinja.replies.parser is None
    assert jinja.quirks == replace(
        by_tags, cuts_prompts=False, guards_repeats=False, zero_predicts=1, shows_bos=False, cuts_eos=True
    )


def test_gpt_oss_has_a_convention() -> None:
    """Names of tools, the highest level and the beginning of an answer; only with a template of the kind."""
    chat = profile(template=HARMONY, family="gptoss").chat
    assert prompt(chat, Message("user", "q"), tools=TOOLS, think="max") == "<|start|>a_bqhigh<|end|>"
    assert chat.quirks.answer_start == "<|end|><|start|>assistant<|channel|>final<|message|>"
    assert chat.replies.parser is not None and chat.replies.parser.name == "harmony"
    plain = profile(template="{{ .ThinkLevel }}", family="gptoss").chat
    assert plain.quirks.answer_start == "" and plain.replies.parser is None


def test_where_images_stand() -> None:
    """Before the text, with a space for renderers that know tags; after it for templates in the weights."""
    assert "[img-0] q" in prompt(profile(renderer="qwen3.5", parser="qwen3.5").chat, SEEN)
    assert "[img" not in prompt(profile(renderer="cohere", parser="cohere").chat, SEEN)
    assert prompt(profile(template="{{ .Prompt }}{{ .Response }}").chat, SEEN) == "[img-0]q"
    template = ChatTemplate.parse("{% for m in messages %}{{ m.content }}{% endfor %}")
    jinja = JinjaChat(template, Replies(None, None, "{"), Quirks(), "m", {})
    assert prompt(jinja, SEEN, replace(SEEN, content="r")) == "q[img-0]r[img-1]"


def test_templates_that_cannot_be_used() -> None:
    """A Go template is better than nothing; else the error says why."""
    chat = JinjaChat(None, Replies(None, None, "{"), Quirks(), "m", {}, problem="line 1: no")
    with pytest.raises(
        TemplateError, match="the chat template in the weights of m cannot be used: line 1: no"
    ):
        prompt(chat, Message("user", "q"))
    with pytest.raises(InvalidRequestError):
        prompt(chat, Message("assistant", "a"), Message("assistant", "b"))
    with pytest.raises(TemplateError, match='unknown renderer "nope"'):
        prompt(profile(renderer="nope").chat, Message("user", "q"))


def test_a_template_for_tools() -> None:
    """It is used for requests with tools alone."""
    with_tools, without = ChatTemplate.parse("with"), ChatTemplate.parse("without")
    chat = JinjaChat(without, Replies(None, None, "{"), Quirks(), "m", {}, tool_template=with_tools)
    assert prompt(chat, Message("user", "q"), tools=TOOLS) == "with"
    assert prompt(chat, Message("user", "q")) == "without"


@pytest.mark.parametrize(
    ("found", "is_kept"),
    [
        (profile(family="qwen3"), False),
        (profile(name="deepseek-r1:7b", family="qwen2"), False),
        (profile(family="qwen35"), True),
        (profile(name="qwen3", family="llama"), True),
    ],
)
def test_old_thinking(found: ModelProfile, is_kept: bool) -> None:
    """Some models are not shown what they thought before the last question."""
    messages = [
        Message("user", "q"),
        Message("assistant", "<think>t</think>\n\na"),
        Message("user", "r"),
        Message("assistant", "<think>u</think>b"),
    ]
    contents = [message.content for message in chat_messages(found, messages)]
    assert contents == ["q", messages[1].content if is_kept else "a", "r", "<think>u</think>b"]


def test_the_template_that_fills_gaps() -> None:
    """The model's own, or one that passes the prompt on."""
    assert isinstance(profile().template, Template)
    assert profile(template="{{ .Suffix }}").template.source == "{{ .Suffix }}"


def test_tokens_that_a_reader_needs() -> None:
    """Of its parser, of thinking, and of calls when there may be some; closed too for Jinja templates."""
    go = Replies(None, ("<t>", "</t>"), "<tool_call>")
    assert go.preserved_tokens(()) == ("<t>", "</t>")
    assert go.preserved_tokens(TOOLS) == ("<t>", "</t>", "<tool_call>")
    jinja = replace(go, closes_tool_tag=True)
    assert jinja.preserved_tokens(TOOLS) == ("<t>", "</t>", "<tool_call>", "</tool_call>")
