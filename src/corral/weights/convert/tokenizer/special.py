"""Special tokens and chat templates: which tokens begin and end a text, and which files define them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.errors import ConversionError
from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.config import Config
from corral.weights.convert.tokenizer.tokenizer_json import parts_of
from corral.weights.convert.tokenizer.vocabulary import Vocabulary

# Names in Hugging Face files -> GGUF's (`seperator` is GGUF's spelling).
_NAMES = {
    "bos": "bos",
    "eos": "eos",
    "unk": "unknown",
    "sep": "seperator",
    "pad": "padding",
    "cls": "cls",
    "mask": "mask",
}
_MAX_TEMPLATE_BYTES = 2**20


def add_special_tokens(
    vocabulary: Vocabulary, checkpoint: Checkpoint, config: Config, tokenizer: Mapping[str, Any]
) -> None:
    """Set the ids of special tokens, and whether they are added to texts.

    Names in tokenizer_config.json and special_tokens_map.json take precedence over ids in config.json; all end tokens
    of generation_config.json are used.

    Raises:
        ConversionError
    """
    named = {**checkpoint.object("special_tokens_map.json"), **checkpoint.object("tokenizer_config.json")}
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    for short, name in _NAMES.items():
        token = _content(named.get(f"{short}_token"))
        number = ids.get(token) if token is not None else None
        if number is None:
            number = _number(config.values.get(f"{short}_token_id"), len(ids))
        if number is not None:
            vocabulary.special.setdefault(name, number)
    _add_ends(vocabulary, checkpoint, config)
    _add_surroundings(vocabulary, named, tokenizer, ids)


def _content(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _number(value: Any, count: int) -> int | None:
    if isinstance(value, list):
        value = value[0] if value else None
    return value if type(value) is int and 0 <= value < count else None


def _add_ends(vocabulary: Vocabulary, checkpoint: Checkpoint, config: Config) -> None:
    """Set all tokens that end a response; the engine has three names for them."""
    ends: list[int] = []
    for values in (checkpoint.object("generation_config.json"), config.values):
        given = values.get("eos_token_id")
        for value in given if isinstance(given, list) else [given]:
            number = _number(value, len(vocabulary.tokens))
            if number is not None and number not in ends:
                ends.append(number)
    if not ends:
        return
    vocabulary.special.setdefault("eos", ends[0])
    others = [number for number in ends if number != vocabulary.special["eos"]]
    for name, number in zip(("eot", "eom"), others, strict=False):
        vocabulary.special.setdefault(name, number)
    if len(ends) > 1:
        vocabulary.end_ids = ends


def _add_surroundings(
    vocabulary: Vocabulary, named: Mapping[str, Any], tokenizer: Mapping[str, Any], ids: Mapping[str, int]
) -> None:
    """Whether a first and a last token are added to texts, preferably according to the post-processor."""
    flags, special = vocabulary.flags, vocabulary.special
    single, pair = _templates(tokenizer)
    if single is not None:
        first = single[0] if single and single[0] is not None else None
        last = single[-1] if len(single) > 1 and single[-1] is not None else None
        flags["add_bos_token"] = first is not None
        flags["add_eos_token"] = last is not None
        if first is not None and first in ids:
            special["bos"] = ids[first]
        if last is not None and last in ids:
            special["eos"] = ids[last]
    for short in ("bos", "eos"):
        if isinstance(value := named.get(f"add_{short}_token"), bool):
            flags[f"add_{short}_token"] = value
    if pair is not None:
        middle = pair[pair.index(None) + 1 : len(pair) - pair[::-1].index(None) - 1]
        flags["add_sep_token"] = len(middle) > 1
    if vocabulary.model in ("bert", "t5"):
        if "cls" in special:
            special.setdefault("bos", special["cls"])
        if "seperator" in special:
            special.setdefault("eos", special["seperator"])
    for name in ("bos", "eos"):
        if flags.get(f"add_{name}_token") and name not in special:
            raise ConversionError(f"the tokenizer adds a {name} token, but does not name it")


def _templates(
    tokenizer: Mapping[str, Any],
) -> tuple[list[str | None] | None, list[str | None] | None]:
    """The tokens around one text and around a pair (None stands for a text); None if unknown."""
    processor = tokenizer.get("post_processor")
    if not isinstance(processor, dict):
        return ([None], None) if tokenizer else (None, None)
    for part in parts_of(processor):
        if part.get("type") == "TemplateProcessing":
            single, pair = _items(part.get("single")), _items(part.get("pair"))
            if single.count(None) != 1:
                raise ConversionError("tokenizer.json: the post_processor has no place for the text")
            return single, pair if pair.count(None) == 2 else None
        if part.get("type") in ("BertProcessing", "RobertaProcessing"):
            first, last = _pair_item(part.get("cls")), _pair_item(part.get("sep"))
            between = [last] if part["type"] == "BertProcessing" else [last, last]
            return [first, None, last], [first, None, *between, None, last]
    return [None], None


def _pair_item(value: Any) -> str:
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        raise ConversionError("tokenizer.json: invalid post_processor")
    return value[0]


def _items(template: Any) -> list[str | None]:
    found: list[str | None] = []
    for item in template if isinstance(template, list) else []:
        if isinstance(item, dict) and isinstance(special := item.get("SpecialToken"), dict):
            found.append(str(special.get("id")))
        elif isinstance(item, dict) and "Sequence" in item:
            found.append(None)
    return found


def add_chat_templates(vocabulary: Vocabulary, checkpoint: Checkpoint) -> None:
    """Chat templates; chat_template.jinja takes precedence over those inside JSON files.

    Raises:
        ConversionError
    """
    given = checkpoint.object("tokenizer_config.json").get("chat_template")
    if given is None:
        given = checkpoint.object("chat_template.json").get("chat_template")
    if isinstance(given, str):
        vocabulary.chat_templates["default"] = given
    elif isinstance(given, list):
        for entry in given:
            if not isinstance(entry, dict) or not isinstance(entry.get("template"), str):
                raise ConversionError("invalid chat_template: expected a name and a template")
            name = str(entry.get("name"))
            if name.replace("_", "").isalnum() and name.isascii():
                vocabulary.chat_templates[name] = entry["template"]
    elif given is not None:
        raise ConversionError("invalid chat_template: expected a text or a list")
    separate = checkpoint.text("chat_template.jinja")
    if separate is not None:
        vocabulary.chat_templates["default"] = separate
    if sum(map(len, vocabulary.chat_templates.values())) > _MAX_TEMPLATE_BYTES:
        raise ConversionError("invalid chat_template: it is too long")
