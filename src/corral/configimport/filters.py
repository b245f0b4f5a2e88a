"""llama-swap's filters: parameters that requests cannot set, or that are set for them."""

from __future__ import annotations

import json
from typing import Any

from corral.configimport.imported import ImportedModel
from corral.configimport.modelnames import ModelNames
from corral.modelfile import Directive

# Parameters of OpenAI's and llama-server's bodies, by the options that they are here.
_OPTIONS = {
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "n_predict"), "num_predict"),
    "n_keep": "num_keep",
    "typical_p": "typical_p",
    "cache_prompt": "cache_prompt",
    **{
        name: name
        for name in (
            "temperature top_p top_k min_p seed stop presence_penalty frequency_penalty repeat_penalty repeat_last_n"
        ).split()
    },
}
_WHOLE = frozenset({"num_predict", "num_keep", "top_k", "seed", "repeat_last_n"})
_MAX_SHOWN = 60


def read_filters(model: ImportedModel, filters: object, names: ModelNames) -> list[ImportedModel]:
    """Put filters into a model's section. Returns the models that stand for names with parameters of their own."""
    if not isinstance(filters, dict):
        return []
    stripped = filters.get("stripParams")
    for name in str(stripped or "").split(","):
        if name := name.strip():
            _strip(model, name)
    fixed = filters.get("setParams")
    for name, value in (fixed if isinstance(fixed, dict) else {}).items():
        _fix(model, name, value)
    by_id = filters.get("setParamsByID")
    variants = [
        variant
        for asked, params in (by_id if isinstance(by_id, dict) else {}).items()
        if (variant := _variant(model, asked, params, names)) is not None
    ]
    for name in filters.keys() - {"stripParams", "setParams", "setParamsByID"}:
        model.note(f"filters.{name}: it is not known")
    return variants


def _strip(model: ImportedModel, name: str) -> None:
    option = _OPTIONS.get(name)
    if option is None:
        model.note(f"stripParams {name}: only options can be forbidden")
    elif option not in model.strip:
        model.strip.append(option)


def _fix(model: ImportedModel, name: str, value: Any) -> bool:
    """A value that requests cannot change. Returns whether there is an option for it."""
    option = _OPTIONS.get(name)
    if option is None or not _is_possible(option, value):
        shown = json.dumps(value, ensure_ascii=True, default=str)[:_MAX_SHOWN]
        model.note(f"setParams {name} = {shown}: there is no such option here; requests have to say it")
        return False
    model.options[option] = [value] if option == "stop" and isinstance(value, str) else value
    _strip(model, name)
    return True


def _is_possible(option: str, value: Any) -> bool:
    if option == "stop":
        texts = value if isinstance(value, list) else [value]
        return all(isinstance(text, str) for text in texts)
    if option == "cache_prompt" or isinstance(value, bool):
        return option == "cache_prompt" and isinstance(value, bool)
    if option in _WHOLE:
        return isinstance(value, int) and -1 <= value < 1 << 31
    lowest = 1e-30 if option == "repeat_penalty" else -1e30
    return isinstance(value, int | float) and lowest < value < 1e30


def _variant(model: ImportedModel, asked: str, params: object, names: ModelNames) -> ImportedModel | None:
    """A model with parameters of its own, made from the other; without any that mean something here, an alias."""
    variant = ImportedModel("", asked, directives=[Directive("from", model.name)])
    variant.values, variant.engine = dict(model.values), dict(model.engine)
    variant.options, variant.strip = dict(model.options), list(model.strip)
    known = [
        _fix(variant, name, value) for name, value in (params if isinstance(params, dict) else {}).items()
    ]
    is_itself = asked in (model.asked, model.name)
    if is_itself or not any(known):
        for text in variant.notes:
            model.note(f"{asked}: {text}")
        if is_itself:
            model.options, model.strip = variant.options, variant.strip
        else:
            model.aliases.append(asked)
        return None
    variant.name = names.name_for(asked)
    if variant.name != asked:
        variant.aliases.append(asked)
    return variant
