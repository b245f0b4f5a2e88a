"""Chooses how a model talks: everything that depends on renderer, parser, template and family is decided here."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from corral.chat import marks
from corral.chat.families.family import GoConvention, Parser, Renderer
from corral.chat.families.known import find_parser, find_renderer, is_forgetful
from corral.chat.gotemplate import Template
from corral.chat.parsing.call_forms import arguments_key
from corral.chat.templates.go_output import thinking_tags, tool_tag
from corral.chat.templates.jinja import ChatTemplate
from corral.chat.templates.jinja_output import output_form
from corral.errors import TemplateError
from corral.inference.capabilities import ChatKind, Traits, choose_kind, convention_of
from corral.inference.chats import BuiltInChat, Chat, GoTemplateChat, JinjaChat, Quirks
from corral.inference.reply_parser import Replies
from corral.store.models import Model
from corral.weights.architectures import architecture
from corral.weights.gguf import GGUFArray, GGUFFile

# What the engine uses for a model that brings no template of any kind.
_DEFAULT_CHAT_TEMPLATE = (
    "{% for m in messages %}"
    f"{{{{ '{marks.OPEN_TURN}' + m['role'] + '\\n' + m['content'] + '{marks.CLOSE_TURN}\\n' }}}}"
    "{% endfor %}{% if add_generation_prompt %}"
    f"{{{{ '{marks.OPEN_TURN}assistant\\n' }}}}"
    "{% endif %}"
)


def choose_chat(traits: Traits, template: Template, *, go_template: bool | None) -> tuple[Chat, ChatKind]:
    """How a model talks. `template`: its Go template, or the plain one; `go_template` is the setting."""
    kind = choose_kind(traits, go_template=go_template)
    if kind is ChatKind.JINJA:
        own, problem = _parsed(traits.chat_template or _DEFAULT_CHAT_TEMPLATE)
        if own is not None or traits.template is None:
            return _jinja_chat(traits, template, own, problem), kind
        # Better than nothing, even a template that would lose against a valid one.
        return _go_chat(traits, template, problem), ChatKind.GO_TEMPLATE
    if kind is ChatKind.BUILT_IN:
        return _built_in_chat(traits.model, template), kind
    return _go_chat(traits, template, ""), kind


def _built_in_chat(model: Model, template: Template) -> BuiltInChat:
    replies = _replies_by_go(model, template)
    count = _parameter_count(model.config.parameter_size)
    quirks = _quirks(model, replies)
    return BuiltInChat(_renderer(model.config.renderer), replies, quirks, model.name.short(), count)


def _go_chat(traits: Traits, template: Template, problem: str) -> GoTemplateChat:
    replies = _replies_by_go(traits.model, template)
    quirks = _quirks(traits.model, replies)
    return GoTemplateChat(template, replies, quirks, convention_of(traits.model), problem)


def _replies_by_go(model: Model, template: Template) -> Replies:
    return Replies(
        _parser(model), thinking_tags(template), tool_tag(template), arguments_key(template.source)
    )


def _jinja_chat(traits: Traits, template: Template, own: ChatTemplate | None, problem: str) -> JinjaChat:
    tool_template, _ = _parsed(traits.tool_template) if traits.tool_template else (None, "")
    form = output_form(tool_template.source if tool_template else traits.chat_template)
    replies = Replies(
        _parser(traits.model) or form.parser,
        form.thinking_tags,
        form.tool_tag,
        arguments_key(template.source if own is None else own.source),
        closes_tool_tag=True,
    )
    return JinjaChat(
        own,
        replies,
        _quirks(traits.model, replies, is_jinja=True),
        traits.model.name.short(),
        special_tokens(traits.gguf),
        tool_template,
        problem,
        template_in_weights=traits.chat_template,
    )


def _quirks(model: Model, replies: Replies, *, is_jinja: bool = False) -> Quirks:
    convention: GoConvention | None = convention_of(model)
    has_parser = replies.parser is not None
    return Quirks(
        cuts_prompts=not is_jinja,
        guards_repeats=not is_jinja,
        zero_predicts=1 if is_jinja else -1,
        shows_bos=not is_jinja,
        cuts_eos=is_jinja,
        emits_empty_chunks=not has_parser,
        reads_given_think=has_parser,
        reads_unasked_calls=has_parser,
        drops_old_thinking=is_forgetful(model.config.family, model.name.model),
        takes_one_image=architecture(model.config.family).takes_one_image,
        answer_start="" if convention is None else convention.answer_start,
    )


def _parsed(source: str) -> tuple[ChatTemplate | None, str]:
    """The template of a file, or why it cannot be used: only what needs it fails then."""
    try:
        return ChatTemplate.parse(source), ""
    except TemplateError as exc:
        return None, str(exc)


def _renderer(name: str) -> Renderer:
    def unknown(_conversation: object) -> str:
        raise TemplateError(f'unknown renderer "{name}"')

    return find_renderer(name) or Renderer(name, unknown)


def _parser(model: Model) -> Parser | None:
    convention = convention_of(model)
    name = model.config.parser or ("" if convention is None else convention.parser)
    return find_parser(name) if name else None


def _parameter_count(text: str) -> int:
    """The number that the config's text for people stands for; renderers that ask mean that one."""
    scale = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(text[-1:].upper(), 0)
    try:
        return int(float(text[:-1]) * scale)
    except ValueError:
        return 0


def special_tokens(gguf: GGUFFile | None) -> dict[str, str]:
    """What Jinja templates get to know about the tokenizer."""
    metadata: Any = gguf.metadata if gguf else {}
    return {f"{kind}_token": special_token(metadata, kind) for kind in ("bos", "eos")}


def special_token(metadata: Any, kind: str) -> str:
    """The text of a special token, whatever a file says about it; empty if it has none."""
    number = metadata.get(f"tokenizer.ggml.{kind}_token_id")
    tokens = metadata.get("tokenizer.ggml.tokens")
    is_known = isinstance(tokens, GGUFArray) and tokens.element_type == "string"
    if not isinstance(number, int) or not is_known or not 0 <= number < len(tokens):
        return ""
    return _token_text(tokens, number)


@lru_cache(maxsize=256)
def _token_text(tokens: Any, number: int) -> str:
    for i, token in enumerate(tokens.byte_strings()):
        if i == number:
            return str(token, "utf-8", "replace")
    return ""
