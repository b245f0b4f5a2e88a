"""Chooses the file that describes the tokenizer best, and reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from corral.errors import ConversionError
from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.config import Config
from corral.weights.convert.jsonfile import read_bytes
from corral.weights.convert.tokenizer.sentencepiece import parse_model
from corral.weights.convert.tokenizer.special import add_chat_templates, add_special_tokens
from corral.weights.convert.tokenizer.tokenizer_json import (
    AddedToken,
    added_tokens,
    is_byte_level,
    prepends_space,
    vocabulary_of,
    word_pieces,
)
from corral.weights.convert.tokenizer.vocabulary import MAX_TOKENS, TokenType, Vocabulary

_WORD_PIECE_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Control tokens of Gemma that its files declare as ordinary ones (ollama: convert/tokenizer_spm.go).
_MARKS = ("<start_of_turn>", "<end_of_turn>", "<start_function_", "<end_function_", "<escape>")
_SPACE = "\u2581"


def load_vocabulary(checkpoint: Checkpoint, config: Config) -> Vocabulary:
    """The model's tokenizer: tokens, special tokens and chat templates.

    Raises:
        ConversionError: there is none, or the engine does not support it.
    """
    tokenizer = checkpoint.object("tokenizer.json")
    settings = checkpoint.object("tokenizer_config.json")
    vocabulary = _sentencepiece(checkpoint, tokenizer, settings)
    if vocabulary is None and tokenizer:
        keeps_spaces = settings.get("clean_up_tokenization_spaces") is False
        vocabulary = vocabulary_of(tokenizer, keeps_spaces=keeps_spaces)
    if vocabulary is None:
        vocabulary = _word_list(checkpoint, settings)
    if vocabulary is None:
        raise ConversionError("unknown tokenizer format: tokenizer.json or tokenizer.model is needed")
    add_special_tokens(vocabulary, checkpoint, config, tokenizer)
    add_chat_templates(vocabulary, checkpoint)
    return vocabulary


def _sentencepiece(
    checkpoint: Checkpoint, tokenizer: Mapping[str, Any], settings: Mapping[str, Any]
) -> Vocabulary | None:
    """The SentencePiece model with additions from other files; None if tokenizer.json is of another kind."""
    path = checkpoint.path("tokenizer.model")
    if path is None or is_byte_level(tokenizer):
        return None
    model = tokenizer.get("model")
    if isinstance(model, dict) and model.get("type") == "Unigram":
        return None  # its ids may differ from the SentencePiece model's, as XLM-R's do
    vocabulary = parse_model(read_bytes(path, "tokenizer.model"), "tokenizer.model")
    if tokenizer:
        vocabulary.flags["add_space_prefix"] = prepends_space(tokenizer)
    _extend(vocabulary, _from_added_tokens_file(checkpoint))
    _extend(vocabulary, _from_settings(settings))
    _extend(vocabulary, added_tokens(tokenizer))
    return vocabulary


def _from_added_tokens_file(checkpoint: Checkpoint) -> Iterable[AddedToken]:
    for text, number in checkpoint.object("added_tokens.json").items():
        if type(number) is not int or not 0 <= number < MAX_TOKENS:
            raise ConversionError(f"invalid token id: {str(number)[:40]} in added_tokens.json")
        yield number, text, False


def _from_settings(settings: Mapping[str, Any]) -> Iterable[AddedToken]:
    entries = settings.get("added_tokens_decoder")
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        if (
            key.isdecimal()
            and len(key) < 8
            and isinstance(entry, dict)
            and isinstance(entry.get("content"), str)
        ):
            yield int(key), entry["content"], entry.get("special") is True


def _extend(vocabulary: Vocabulary, tokens: Iterable[AddedToken]) -> None:
    """Add tokens, or change the types of existing ones."""
    assert vocabulary.scores is not None
    for number, text, is_special in sorted(tokens):
        count = len(vocabulary.tokens)
        if number > count + 1024:
            raise ConversionError(f"invalid token id: {number} as pos {count}")
        for gap in range(count, number + 1):
            vocabulary.tokens.append(f"[PAD{gap}]")
            vocabulary.scores.append(-1000.0)
            vocabulary.types.append(TokenType.UNUSED)
        if vocabulary.types[number] in (TokenType.UNKNOWN, TokenType.BYTE):
            continue
        is_control = is_special or text.startswith(_MARKS)
        vocabulary.types[number] = TokenType.CONTROL if is_control else TokenType.USER_DEFINED
        vocabulary.tokens[number] = text if is_control else text.replace(_SPACE, " ")


def _word_list(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> Vocabulary | None:
    """BERT's vocab.txt, the predecessor of tokenizer.json."""
    text = checkpoint.text("vocab.txt")
    if text is None:
        return None
    tokens = text.removesuffix("\n").split("\n")
    tokens = [token.removesuffix("\r") for token in tokens]
    if len(tokens) > MAX_TOKENS:
        raise ConversionError("vocab.txt: more tokens than any model has")
    types = [int(TokenType.CONTROL if token in _WORD_PIECE_SPECIAL else TokenType.NORMAL) for token in tokens]
    lowercase = settings.get("do_lower_case", True) is True
    accents = settings.get("strip_accents")
    flags = {
        "normalizer.lowercase": lowercase,
        "normalizer.strip_accents": lowercase if accents is None else accents is True,
        "add_bos_token": True,
        "add_eos_token": True,
        "add_sep_token": False,
    }
    vocabulary = word_pieces(tokens, types, "##", "[UNK]", flags)
    for name, token in (("bos", "[CLS]"), ("eos", "[SEP]"), ("seperator", "[SEP]"), ("padding", "[PAD]")):
        if token in tokens:
            vocabulary.special[name] = tokens.index(token)
    return vocabulary
