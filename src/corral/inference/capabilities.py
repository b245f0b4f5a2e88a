"""What a model can do, and what makes its prompts. Ollama: server/images.go Capabilities."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from corral.chat.families.family import GoConvention
from corral.chat.families.known import decision_form, find_parser, go_convention
from corral.chat.gotemplate import Template
from corral.chat.templates import jinja
from corral.chat.templates.go_output import thinking_tags
from corral.chat.templates.plain import is_plain
from corral.errors import TemplateError
from corral.store.models import Model
from corral.weights.architectures import architecture
from corral.weights.gguf import GGUFFile

# llama.cpp: LLAMA_POOLING_TYPE_RANK, and its names for the head that makes the score.
_POOLING_RANK = 4
_CLASSIFIER_HEADS = ("cls.weight", "cls.output.weight")


class ChatKind(Enum):
    """What makes the prompts of a model."""

    BUILT_IN = auto()
    GO_TEMPLATE = auto()
    JINJA = auto()


@dataclass(frozen=True, slots=True)
class Traits:
    """What decides the lists: the model, its header, and its Go template if it has one that parses."""

    model: Model
    gguf: GGUFFile | None
    projector: GGUFFile | None
    template: Template | None

    @property
    def chat_template(self) -> str:
        return self._text("tokenizer.chat_template")

    @property
    def tool_template(self) -> str:
        """The template for chats with tools that a file has beside its usual one. llama.cpp: common/chat.cpp."""
        return self._text("tokenizer.chat_template.tool_use")

    def _text(self, key: str) -> str:
        value = self.gguf.metadata.get(key, "") if self.gguf else ""
        return value if isinstance(value, str) else ""


def convention_of(model: Model) -> GoConvention | None:
    """What Ollama adds to the model's Go template, if that is one of a family with such rules."""
    found = go_convention(model.config.family)
    template = model.template or ""
    return found if found is not None and all(mark in template for mark in found.marks) else None


def choose_kind(traits: Traits, *, go_template: bool | None) -> ChatKind:
    """What makes the prompts of a chat; `go_template` is the setting (None: not given)."""
    model = traits.model
    decision = decision_form(model.config.renderer)
    if decision is not None and decision.uses_own_template:
        return ChatKind.JINJA
    if model.config.renderer:
        return ChatKind.BUILT_IN
    if model.config.parser or convention_of(model) is not None:
        return ChatKind.GO_TEMPLATE
    if (
        model.template is not None
        and go_template is not False
        and (go_template or not _prefers_jinja(traits))
    ):
        return ChatKind.GO_TEMPLATE
    return ChatKind.JINJA


def _prefers_jinja(traits: Traits) -> bool:
    """Whether the GGUF's own template can do more than the Go template."""
    source = traits.chat_template
    if not source:
        return False
    if is_plain(traits.model.template or ""):
        return True
    native = {
        name
        for name, has in (("tools", jinja.has_tools(source)), ("thinking", jinja.has_thinking(source)))
        if has
    }
    go = set(_template_capabilities(traits.template))
    if native > go:
        return jinja.has_tool_round_trip(source) or not _go_round_trip(traits)
    return native == go and "tools" in go and jinja.has_tool_round_trip(source) and not _go_round_trip(traits)


def _go_round_trip(traits: Traits) -> bool:
    template = traits.template
    if template is None:
        return False
    source = template.source
    return {"tools", "toolcalls"} <= set(template.variables()) and any(
        mark in source for mark in ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
    )


def _template_capabilities(template: Template | None) -> list[str]:
    if template is None:
        return []
    variables = template.variables()
    found = [name for name, variable in (("tools", "tools"), ("insert", "suffix")) if variable in variables]
    return [*found, "thinking"] if thinking_tags(template) else found


def capabilities_of(traits: Traits, kind: ChatKind) -> tuple[str, ...]:
    """What the model can do: for show, for tags, and for the checks of requests."""
    found = list(traits.model.config.capabilities)
    if kind is ChatKind.JINJA and (source := traits.chat_template):
        found += ["tools"] if jinja.has_tools(source) or traits.tool_template else []
        found += ["thinking"] if jinja.has_thinking(source) else []
    found += _header_kind(traits)
    found += ["rerank"] if is_reranker(traits.gguf) else []
    found += _media_of(traits.gguf)
    found += _projector(traits)
    if kind is ChatKind.GO_TEMPLATE:
        found += _template_capabilities(traits.template)
    found += _parser(traits)
    if go_convention(traits.model.config.family) is not None:
        found.append("thinking")
    return _unique(found, traits)


def tags_order(found: tuple[str, ...], gguf: GGUFFile | None) -> tuple[str, ...]:
    """The same list in the order that clients know from tags: first what the weights' header says about media."""
    media = _media_of(gguf)
    return (*(name for name in media if name in found), *(name for name in found if name not in media))


def is_reranker(gguf: GGUFFile | None) -> bool:
    """Whether a model scores a query and a document together. Files from before 2025 say so by their head alone."""
    if gguf is None:
        return False
    pooling = gguf.get_arch("pooling_type")
    if pooling is None:
        return any(tensor.name in _CLASSIFIER_HEADS for tensor in gguf.tensors)
    return bool(pooling == _POOLING_RANK)


def _header_kind(traits: Traits) -> list[str]:
    if traits.gguf is None:
        return []
    is_pooled = traits.gguf.get_arch("pooling_type") is not None or is_reranker(traits.gguf)
    return ["embedding"] if is_pooled else ["completion"]


def _media_of(gguf: GGUFFile | None) -> list[str]:
    if gguf is None:
        return []
    return [kind for kind in ("vision", "audio") if gguf.get_arch(f"{kind}.block_count") is not None]


def _projector(traits: Traits) -> list[str]:
    if not traits.model.projector_paths:
        return []
    metadata: Any = traits.projector.metadata if traits.projector else {}
    hears = any(key.endswith(".has_audio_encoder") and value is True for key, value in metadata.items())
    is_deaf = metadata.get("clip.vision.projector_type") == "gemma3nv"
    return ["vision", "audio"] if hears and not is_deaf else ["vision"]


def _parser(traits: Traits) -> list[str]:
    name = traits.model.config.parser
    info = find_parser(name) if name else None
    if info is None:
        return []
    return [kind for kind, has in (("tools", info.has_tools), ("thinking", info.has_thinking)) if has]


def has_decision_head(gguf: GGUFFile | None) -> bool:
    """Whether a file has a part that answers typed questions; the engine runs it."""
    return gguf is not None and isinstance(gguf.get_arch("decision.type"), str)


def is_decision_model(model: Model, gguf: GGUFFile | None) -> bool:
    """Whether a model was made to answer typed questions (`/v1/systemone`)."""
    config = model.config
    is_asked = decision_form(config.renderer) is not None
    return "decision" in config.capabilities or is_asked or has_decision_head(gguf)


def _unique(found: list[str], traits: Traits) -> tuple[str, ...]:
    if is_decision_model(traits.model, traits.gguf):
        return ("decision",)
    dropped = set() if architecture(traits.model.config.family).can_hear else {"audio"}
    return tuple(name for name in dict.fromkeys(found) if name not in dropped)


def parse_template(source: str | None) -> Template | None:
    """A stored Go template; one that does not parse counts as none here, and fails where it is used."""
    if source is None:
        return None
    try:
        return Template.parse(source)
    except TemplateError:
        return None
