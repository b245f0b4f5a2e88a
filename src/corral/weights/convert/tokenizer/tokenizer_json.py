"""Converts tokenizer.json (the format of the `tokenizers` package) to the engine's vocabulary."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from corral.errors import ConversionError
from corral.weights.convert.tokenizer.pretokenizers import find_pre_tokenizer
from corral.weights.convert.tokenizer.vocabulary import MAX_TOKENS, TokenType, Vocabulary

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "\u2581"
AddedToken = tuple[int, str, bool]


def added_tokens(tokenizer: Mapping[str, Any]) -> list[AddedToken]:
    """Additional tokens: id, text, whether they are special.

    Raises:
        ConversionError
    """
    entries = tokenizer.get("added_tokens") or []
    if not isinstance(entries, list):
        raise ConversionError("tokenizer.json: added_tokens has to be a list")
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ConversionError("tokenizer.json: an added token without content")
        found.append((_checked_id(entry.get("id")), entry["content"], entry.get("special") is True))
    return found


def _checked_id(value: Any) -> int:
    if type(value) is not int or not 0 <= value < MAX_TOKENS:
        raise ConversionError(f"tokenizer.json: invalid token id {str(value)[:40]}")
    return value


def is_byte_level(tokenizer: Mapping[str, Any]) -> bool:
    """Whether the vocabulary represents bytes as printable characters, as in GPT-2."""
    return any(
        part.get("type") == "ByteLevel"
        for name in ("pre_tokenizer", "decoder")
        for part in parts_of(tokenizer.get(name))
    )


def parts_of(component: Any) -> Iterator[dict[str, Any]]:
    """The components of a sequence, or the single component."""
    if not isinstance(component, dict):
        return
    for name in ("normalizers", "pretokenizers", "decoders", "processors"):
        inner = component.get(name)
        if component.get("type") == "Sequence" and isinstance(inner, list):
            yield from (part for part in inner if isinstance(part, dict))
            return
    yield component


def vocabulary_of(tokenizer: Mapping[str, Any], *, keeps_spaces: bool) -> Vocabulary:
    """The vocabulary that a tokenizer.json describes.

    Raises:
        ConversionError: an invalid file, or a kind of tokenizer that the engine does not support.
    """
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise ConversionError("tokenizer.json: model is missing")
    kind = model.get("type")
    if kind is None and "merges" in model:
        kind = "BPE"
    if kind == "BPE" and is_byte_level(tokenizer):
        return _byte_level(tokenizer, model, keeps_spaces=keeps_spaces)
    if kind == "BPE":
        return _sentencepiece_bpe(tokenizer, model)
    if kind == "Unigram":
        return _unigram(tokenizer, model)
    if kind == "WordPiece":
        return _word_piece(tokenizer, model)
    raise ConversionError(f"tokenizer.json: tokenizers of type {str(kind)[:40]!r} cannot be converted")


def _listed(vocab: Any, tokenizer: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """Tokens by id, with their types; unassigned ids become unused tokens."""
    if not isinstance(vocab, dict):
        raise ConversionError("tokenizer.json: the vocabulary has to be an object")
    by_id: dict[int, str] = {}
    for text, number in vocab.items():
        if by_id.setdefault(_checked_id(number), text) != text:
            raise ConversionError(f"tokenizer.json: two tokens have the id {number}")
    types = dict.fromkeys(by_id, TokenType.NORMAL)
    for number, text, is_special in added_tokens(tokenizer):
        by_id[number] = text
        types[number] = TokenType.CONTROL if is_special else TokenType.USER_DEFINED
    count = max(by_id, default=-1) + 1
    if count > 2 * len(by_id) + 1024:
        raise ConversionError("tokenizer.json: token ids have large gaps")
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(count)]
    return tokens, [int(types.get(number, TokenType.UNUSED)) for number in range(count)]


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    merges = model.get("merges")
    expected = "could not parse tokenizer merges. expected []string or [][]string"
    if not isinstance(merges, list):
        raise ConversionError(f"{expected}: {type(merges).__name__}")
    pairs = []
    for merge in merges:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) for p in parts):
            raise ConversionError(f"{expected}: {str(merge)[:80]}")
        pairs.append((parts[0], parts[1]))
    return pairs


def _byte_level(tokenizer: Mapping[str, Any], model: Mapping[str, Any], *, keeps_spaces: bool) -> Vocabulary:
    tokens, types = _listed(model.get("vocab"), tokenizer)
    pre = find_pre_tokenizer(
        tokenizer.get("pre_tokenizer"),
        ignores_merges=model.get("ignore_merges") is True,
        keeps_spaces=keeps_spaces,
    )
    merges = [f"{left} {right}" for left, right in _merges(model)]
    return Vocabulary("gpt2", pre, tokens, types, merges=merges)


def _sentencepiece_bpe(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> Vocabulary:
    """SentencePiece's BPE. The engine merges the pair with the best score, so ranks are converted to scores."""
    if not _escapes_spaces(tokenizer):
        raise ConversionError("tokenizer.json: the engine has no BPE without bytes or escaped spaces")
    tokens, types = _listed(model.get("vocab"), tokenizer)
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(_merges(model)):
        ranks.setdefault(left + right, rank)
    last = len(ranks) + len(tokens)
    scores = [-float(ranks.get(text, last)) for text in tokens]
    unknown = model.get("unk_token")
    for number, text in enumerate(tokens):
        if types[number] == TokenType.USER_DEFINED:
            tokens[number] = text.replace(_SPACE, " ")
        if text == unknown:
            types[number] = TokenType.UNKNOWN
        elif _BYTE.fullmatch(text) and model.get("byte_fallback"):
            types[number] = TokenType.BYTE
    flags = {"add_space_prefix": prepends_space(tokenizer)}
    return Vocabulary("llama", "default", tokens, types, scores=scores, flags=flags)


def _escapes_spaces(tokenizer: Mapping[str, Any]) -> bool:
    normal = parts_of(tokenizer.get("normalizer"))
    return any(part.get("type") == "Replace" and part.get("content") == _SPACE for part in normal) or any(
        part.get("type") == "Metaspace" for part in parts_of(tokenizer.get("pre_tokenizer"))
    )


def prepends_space(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a space is added in front of texts."""
    if any(part.get("type") == "Prepend" for part in parts_of(tokenizer.get("normalizer"))):
        return True
    for part in parts_of(tokenizer.get("pre_tokenizer")):
        if part.get("type") == "Metaspace":
            scheme = part.get("prepend_scheme")
            return scheme != "never" if scheme is not None else part.get("add_prefix_space", True) is True
    return False


def _unigram(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> Vocabulary:
    entries = model.get("vocab")
    if not isinstance(entries, list) or len(entries) > MAX_TOKENS:
        raise ConversionError("tokenizer.json: a unigram vocabulary has to be a list")
    tokens, scores = [], []
    for entry in entries:
        is_pair = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
        if not is_pair or isinstance(entry[1], bool) or not isinstance(entry[1], int | float):
            raise ConversionError("tokenizer.json: a unigram token has to be a text and a score")
        tokens.append(entry[0])
        scores.append(float(max(-(10**30), min(10**30, entry[1]))))
    types = [int(TokenType.NORMAL)] * len(tokens)
    for number, text, is_special in sorted(added_tokens(tokenizer)):
        if number > len(tokens):
            raise ConversionError(f"tokenizer.json: token ids have gaps before {number}")
        if number == len(tokens):
            tokens.append(text)
            scores.append(0.0)
            types.append(0)
        tokens[number] = text
        types[number] = TokenType.CONTROL if is_special else TokenType.USER_DEFINED
    unknown = model.get("unk_id")
    special = {}
    if type(unknown) is int and 0 <= unknown < len(types):
        types[unknown] = TokenType.UNKNOWN
        special["unknown"] = unknown
    flags = {
        "add_space_prefix": prepends_space(tokenizer),
        "remove_extra_whitespaces": _removes_spaces(tokenizer),
    }
    return Vocabulary(
        "t5",
        "default",
        tokens,
        types,
        scores=scores,
        flags=flags,
        charsmap=_charsmap(tokenizer),
        special=special,
    )


def _removes_spaces(tokenizer: Mapping[str, Any]) -> bool:
    if any(part.get("type") == "WhitespaceSplit" for part in parts_of(tokenizer.get("pre_tokenizer"))):
        return True
    for part in parts_of(tokenizer.get("normalizer")):
        pattern = part.get("pattern")
        if part.get("type") == "Replace" and isinstance(pattern, dict) and pattern.get("Regex") == " {2,}":
            return True
    return False


def _charsmap(tokenizer: Mapping[str, Any]) -> bytes:
    for part in parts_of(tokenizer.get("normalizer")):
        if part.get("type") == "Precompiled":
            encoded = part.get("precompiled_charsmap")
            try:
                return base64.b64decode(encoded or "", validate=True)
            except (TypeError, ValueError, binascii.Error) as exc:
                raise ConversionError("tokenizer.json: precompiled_charsmap is not base64") from exc
        if part.get("type") in ("Lowercase", "NFC", "NFD", "NFKD", "StripAccents", "BertNormalizer"):
            raise ConversionError(f"tokenizer.json: the engine has no {part['type']} for unigram tokenizers")
    return b""


def _word_piece(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> Vocabulary:
    tokens, types = _listed(model.get("vocab"), tokenizer)
    flags = {}
    for part in parts_of(tokenizer.get("normalizer")):
        if part.get("type") == "BertNormalizer":
            lowercase = part.get("lowercase", True) is True
            accents = part.get("strip_accents")
            flags["normalizer.lowercase"] = lowercase
            flags["normalizer.strip_accents"] = lowercase if accents is None else accents is True
    return word_pieces(
        tokens, types, model.get("continuing_subword_prefix", "##"), str(model.get("unk_token")), flags
    )


def word_pieces(
    tokens: list[str], types: list[int], continuation: object, unknown: str, flags: dict[str, bool]
) -> Vocabulary:
    """WordPiece tokens in the engine's spelling: the beginning of a word is marked, continuations are not."""
    if continuation != "##":
        raise ConversionError("tokenizer.json: the engine only supports word pieces that continue with ##")
    special = {"unknown": tokens.index(unknown)} if unknown in tokens else {}
    spelled = [
        text if kind == TokenType.CONTROL else text[2:] if text.startswith("##") else _SPACE + text
        for text, kind in zip(tokens, types, strict=True)
    ]
    return Vocabulary("bert", "default", spelled, types, flags=flags, special=special)
