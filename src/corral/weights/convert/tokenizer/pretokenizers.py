"""Finds the engine's pre-tokenizer that a tokenizer.json describes.

The engine's pre-tokenizers have names. A tokenizer.json contains regular expressions instead, which can be spelled in
many ways. They are normalised (their alternatives one by one, with a single spelling for equal ones) and looked up.
Unknown ones are refused, because a wrong choice would silently make every response worse.
"""

from __future__ import annotations

import re
from typing import Any

from corral.errors import ConversionError

Step = tuple[str, ...]

# Alternatives that several patterns share, named after what they match.
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CONTRACTION_SPELLINGS = (
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
    "'(?i:[sdmt]|ll|ve|re)",
    "(?i:'s|'t|'re|'ve|'m|'d|'ll)",
    "(?i:[sdmt]|ll|ve|re)",
)
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_PUNCTUATION = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_LINES = r"\s*[\r\n]+"
_SPACES = (r"\s+(?!\S)", r"\s+")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*")


def _split(*alternatives: str) -> Step:
    return ("split", *alternatives)


_BYTES: Step = ("bytes",)
_GPT2: Step = ("gpt2",)
_DIGITS: Step = ("digits",)
_DIGIT_SPLIT = _split(r"\p{N}")
_LLAMA3 = _split(_CONTRACTION, _WORD, r"\p{N}{1,3}", _PUNCTUATION, _LINES, *_SPACES)
_QWEN2 = _split(_CONTRACTION, _WORD, r"\p{N}", _PUNCTUATION, _LINES, *_SPACES)
_QWEN35 = _split(
    _CONTRACTION,
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
    r"\p{N}",
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    _LINES,
    *_SPACES,
)
_TEKKEN = _split(*_CASED, r"\p{N}", _SLASHED, _LINES, *_SPACES)
_GPT4O = _split(*(f"{part}{_CONTRACTION}?" for part in _CASED), r"\p{N}{1,3}", _SLASHED, _LINES, *_SPACES)
_DEEPSEEK_V3 = _split(
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r" ?[\p{P}\p{S}]+[\r\n]*",
    _LINES,
    *_SPACES,
)

# Steps of a pre-tokenizer -> the engine's name (llama.cpp: src/llama-vocab.cpp).
_KNOWN: dict[tuple[Step, ...], str] = {
    (_LLAMA3, _BYTES): "llama-bpe",
    (_QWEN2, _BYTES): "qwen2",
    (_QWEN35, _BYTES): "qwen35",
    (_TEKKEN, _BYTES): "tekken",
    (_GPT4O, _BYTES): "gpt-4o",
    (_split(_CONTRACTION, _WORD, r"\p{N}", _PUNCTUATION, r"\s*[\r\n]", *_SPACES), _BYTES): "bailingmoe",
    (_GPT2,): "gpt-2",
    (_DIGITS, _GPT2): "starcoder",
    (_DIGIT_SPLIT, _GPT2): "starcoder",
    (_split(r"\p{N}{1,3}"), _split("[一-龥぀-ゟ゠-ヿ]+"), _DEEPSEEK_V3, _BYTES): "deepseek-v3",
    (
        _split(r"[\r\n]"),
        _split(r"\s?\p{L}+"),
        _split(r"\s?\p{P}+"),
        _split("[一-龥ࠀ-一가-퟿]+"),
        _DIGITS,
        _BYTES,
    ): "deepseek-coder",
}
# The first takes whole words of the vocabulary without merging, the second does not.
_WITHOUT_IGNORED_MERGES = {"llama-bpe": "dbrx"}


def find_pre_tokenizer(pre_tokenizer: Any, *, ignores_merges: bool, keeps_spaces: bool) -> str:
    """The engine's name for a byte-level `pre_tokenizer` of a tokenizer.json.

    `ignores_merges` is the model's `ignore_merges`; with `keeps_spaces` decoding does not clean up spaces.

    Raises:
        ConversionError: the engine does not have it.
    """
    steps = steps_of(pre_tokenizer)
    name = _KNOWN.get(steps)
    if name is None:
        shown = "; ".join(" | ".join(step) for step in steps)
        raise ConversionError(f"tokenizer.json: the engine has no such pre-tokenizer: {shown[:600]}")
    if not ignores_merges:
        name = _WITHOUT_IGNORED_MERGES.get(name, name)
    return "command-r" if name == "starcoder" and keeps_spaces else name


def steps_of(pre_tokenizer: Any) -> tuple[Step, ...]:
    """The steps of a pre-tokenizer in normal form.

    Raises:
        ConversionError: an unsupported step.
    """
    if pre_tokenizer is None:
        return ()
    if not isinstance(pre_tokenizer, dict):
        raise ConversionError("tokenizer.json: pre_tokenizer has to be an object")
    kind = pre_tokenizer.get("type")
    if kind == "Sequence":
        inner = pre_tokenizer.get("pretokenizers")
        if not isinstance(inner, list) or any(
            isinstance(step, dict) and step.get("type") == "Sequence" for step in inner
        ):
            raise ConversionError("tokenizer.json: pretokenizers has to be a list of steps")
        return tuple(part for step in inner for part in steps_of(step))
    if kind == "ByteLevel":
        if pre_tokenizer.get("add_prefix_space") is True:
            raise ConversionError(
                "tokenizer.json: the engine cannot add a space before text (add_prefix_space)"
            )
        return (_GPT2,) if pre_tokenizer.get("use_regex", True) else (_BYTES,)
    if kind == "Digits":
        return (_DIGITS,) if pre_tokenizer.get("individual_digits") else (("digit runs",),)
    if kind == "Split":
        return (_split_step(pre_tokenizer),)
    return ((str(kind)[:60],),)


def _split_step(step: dict[str, Any]) -> Step:
    pattern = step.get("pattern")
    text = pattern.get("Regex", pattern.get("String")) if isinstance(pattern, dict) else None
    if not isinstance(text, str) or len(text) > 20_000:
        raise ConversionError("tokenizer.json: a Split without a pattern")
    behavior, is_inverted = step.get("behavior"), bool(step.get("invert"))
    # "Isolated" keeps matches as separate pieces; removing the text between them does the same.
    if behavior != "Isolated" and not (behavior == "Removed" and is_inverted):
        return ("split", f"{behavior}: {text}")
    return _split(*(_normal(part) for part in _alternatives(text)))


def _alternatives(pattern: str) -> list[str]:
    """The alternatives of a pattern, split at `|` outside of groups and classes."""
    parts, depth, in_class, start, position = [], 0, False, 0, 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            position += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == "|" and depth == 0:
            parts.append(pattern[start:position])
            start = position + 1
        position += 1
    return [*parts, pattern[start:]]


def _normal(part: str) -> str:
    """A single spelling for equivalent alternatives."""
    for spelling in _CONTRACTION_SPELLINGS:
        if part == spelling or part.endswith(f"{spelling}?"):
            part = part.replace(spelling, _CONTRACTION)
            break
    # In these patterns, possessive quantifiers only prevent backtracking that could not succeed.
    part = re.sub(r"(?<=[\]}])([?+*])\+", r"\1", part)
    part = part.replace("\r", r"\r").replace("\n", r"\n")
    return part.replace(r"\p{N}{1}", r"\p{N}")
