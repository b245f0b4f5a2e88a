"""All chat families, and look-ups by the names that models bring. Names are matched exactly.

A new family is a file in this folder and its name here.
"""

from __future__ import annotations

from importlib import import_module

from corral.chat.families.family import CreateDefault, DecisionForm, Family, GoConvention, Parser, Renderer

# Of two families whose signs a template shows, the first one counts.
NAMES = (
    "harmony",
    "qwen3",
    "qwen3_5",
    "qwen3_coder",
    "qwen3_vl",
    "tev1",
    "clef",
    "nemotron",
    "glm",
    "laguna",
    "deepseek",
    "cogito",
    "cohere",
    "lfm2",
    "functiongemma",
    "gemma4",
    "olmo3",
    "ministral",
    "glimmer",
    "passthrough",
)
FAMILIES: tuple[Family, ...] = tuple(import_module(f"corral.chat.families.{name}").FAMILY for name in NAMES)

_RENDERERS = {renderer.name: renderer for family in FAMILIES for renderer in family.renderers}
_PARSERS = {parser.name: parser for family in FAMILIES for parser in family.parsers}
_DECISIONS = {form.renderer: form for family in FAMILIES if (form := family.decision) is not None}
_DEFAULTS = {
    architecture: default
    for family in FAMILIES
    if (default := family.create_default) is not None
    for architecture in default.architectures
}


def find_renderer(name: str) -> Renderer | None:
    return _RENDERERS.get(name)


def renderer_names() -> tuple[str, ...]:
    return tuple(_RENDERERS)


def find_parser(name: str) -> Parser | None:
    return _PARSERS.get(name)


def parser_names() -> tuple[str, ...]:
    return tuple(_PARSERS)


def parser_of_template(source: str) -> Parser | None:
    """The parser of the family whose signs a chat template shows."""
    for family in FAMILIES:
        for sign in family.signs:
            if all(mark in source for mark in sign.marks):
                return _PARSERS[sign.parser]
    return None


def decision_form(renderer: str) -> DecisionForm | None:
    """How models with a renderer of that name are asked typed questions; None: they were not made for it."""
    return _DECISIONS.get(renderer)


def create_default(architecture: str) -> CreateDefault | None:
    return _DEFAULTS.get(architecture)


def go_convention(model_family: str) -> GoConvention | None:
    """What Ollama adds to the Go templates of a model family, whether the template is of that kind or not."""
    found = (family.go_convention for family in FAMILIES)
    return next((each for each in found if each is not None and model_family in each.model_families), None)


def is_forgetful(model_family: str, model_name: str) -> bool:
    """Whether prompts of a model show earlier answers without their thinking."""
    return any(
        model_family in family.forgetful_families or model_name in family.forgetful_names
        for family in FAMILIES
    )
