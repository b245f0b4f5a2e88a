"""Tokenizers: pre-tokenizers by structure, SentencePiece files, special tokens and chat templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corral.errors import ConversionError
from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.config import Config
from corral.weights.convert.tokenizer import Vocabulary, load_vocabulary
from corral.weights.convert.tokenizer.pretokenizers import find_pre_tokenizer
from corral.weights.convert.tokenizer.sentencepiece import parse_model
from corral.weights.convert.tokenizer.vocabulary import TokenType
from tests.weights.convert.folders import LLAMA3, tokenizer
from tests.weights.convert.protobuf import model_file

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = {**BYTES, "use_regex": True}
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
        **changes,
    }


def steps(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


CL100K = LLAMA3.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?i:[sdmt]|ll|ve|re)").replace(
    r"\p{N}]?\p{L}+", r"\p{N}]?+\p{L}+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{TAIL}"
)
DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{TAIL}"
)


@pytest.mark.parametrize(
    ("pre_tokenizer", "options", "expected"),
    [
        (steps(split(LLAMA3), BYTES), {"ignores_merges": True}, "llama-bpe"),
        (steps(split(LLAMA3, behavior="Removed", invert=True), BYTES), {"ignores_merges": True}, "llama-bpe"),
        (steps(split(LLAMA3), BYTES), {}, "dbrx"),
        (steps(split(CL100K), BYTES), {}, "dbrx"),
        (steps(split(LLAMA3.replace("{1,3}", "")), BYTES), {}, "qwen2"),
        (steps(split(TEKKEN), BYTES), {"ignores_merges": True}, "tekken"),
        (
            steps(split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(DEEPSEEK3), BYTES),
            {},
            "deepseek-v3",
        ),
        (GPT2, {}, "gpt-2"),
        (steps({"type": "Digits", "individual_digits": True}, GPT2), {}, "starcoder"),
        (steps({"type": "Digits", "individual_digits": True}, GPT2), {"keeps_spaces": True}, "command-r"),
    ],
)
def test_pre_tokenizers(pre_tokenizer: Any, options: dict[str, bool], expected: str) -> None:
    """Spellings of the same pattern have the same name."""
    found = find_pre_tokenizer(pre_tokenizer, **{"ignores_merges": False, "keeps_spaces": False, **options})
    assert found == expected


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        None,
        steps(split(LLAMA3 + "|x"), BYTES),
        steps(split(LLAMA3)),
        steps(BYTES, split(LLAMA3)),
        steps(split(LLAMA3, behavior="MergedWithNext"), BYTES),
        steps(split(LLAMA3.replace("{1,3}", "{1,2}")), BYTES),
        {"type": "Whitespace"},
        steps(steps(BYTES)),
        {"type": "Split"},
        7,
    ],
)
def test_other_pre_tokenizers_are_refused(pre_tokenizer: Any) -> None:
    """What is nearly a known pattern is another one."""
    with pytest.raises(ConversionError):
        find_pre_tokenizer(pre_tokenizer, ignores_merges=True, keeps_spaces=False)


def load(tmp_path: Path, config: dict[str, Any] | None = None, **contents: Any) -> Vocabulary:
    """The vocabulary of files given by content; a double underscore stands for the dot in a name."""
    files = {}
    for key, value in contents.items():
        name = key.replace("__", ".")
        path = files[name] = tmp_path / name
        path.write_bytes(
            value
            if isinstance(value, bytes)
            else (value if isinstance(value, str) else json.dumps(value)).encode()
        )
    return load_vocabulary(Checkpoint(files), Config(config or {}))


PIECES = [
    ("<unk>", 0.0, 2),
    ("<s>", 0.0, 3),
    ("</s>", 0.0, 3),
    ("<0x0A>", 0.0, 6),
    ("\u2581a", -1.5, 1),
    ("b", -2.0, 1),
]


def test_sentencepiece_file() -> None:
    """Pieces, scores and types; byte-pair models and unigram models are told apart."""
    found = parse_model(model_file(PIECES, model_type=2, prefix=False), "tokenizer.model")
    assert (found.model, found.tokens, found.types) == ("llama", [p[0] for p in PIECES], [2, 3, 3, 6, 1, 1])
    assert found.scores == [0.0, 0.0, 0.0, 0.0, -1.5, -2.0]
    assert found.flags == {"add_space_prefix": False}
    unigram = parse_model(model_file(PIECES, model_type=1, charsmap=b"\1\2\3"), "tokenizer.model")
    assert (unigram.model, unigram.charsmap) == ("t5", b"\1\2\3")
    assert unigram.flags == {"add_space_prefix": True, "remove_extra_whitespaces": False}
    with pytest.raises(ConversionError, match="by word or character"):
        parse_model(model_file(PIECES, model_type=3), "tokenizer.model")


def test_added_tokens_extend_a_sentencepiece_model(tmp_path: Path) -> None:
    """Tokens of added_tokens.json and tokenizer_config.json: behind the others, or more said about them."""
    settings = {
        "bos_token": "<s>",
        "eos_token": {"content": "<end>"},
        "added_tokens_decoder": {
            "7": {"content": "<end>", "special": True},
            "5": {"content": "b", "special": False},
        },
    }
    found = load(
        tmp_path,
        tokenizer__model=model_file(PIECES, model_type=2),
        added_tokens__json={"<tool>": 6},
        tokenizer_config__json=settings,
    )
    assert found.tokens[5:] == ["b", "<tool>", "<end>"]
    assert found.types[5:] == [TokenType.USER_DEFINED, TokenType.USER_DEFINED, TokenType.CONTROL]
    assert found.special == {"bos": 1, "eos": 7}


def test_a_byte_level_json_is_preferred(tmp_path: Path) -> None:
    """Llama 3 has a tokenizer.model of another kind beside its tokenizer.json."""
    found = load(tmp_path, tokenizer__json=tokenizer(), tokenizer__model=b"IQ== 0\nIg== 1\n")
    assert found.model == "gpt2"
    with pytest.raises(ConversionError, match="not a SentencePiece model"):
        load(tmp_path, tokenizer__model=b"IQ== 0\nIg== 1\n")


def test_all_end_tokens_are_named(tmp_path: Path) -> None:
    """The tokenizer's own end first, then those of generation_config.json."""
    found = load(
        tmp_path,
        {"eos_token_id": 261},
        tokenizer__json=tokenizer(),
        tokenizer_config__json={"eos_token": "</s>"},
        generation_config__json={"eos_token_id": [1, 261, 2]},
    )
    assert (found.special["eos"], found.special["eot"], found.special["eom"]) == (261, 1, 2)
    assert found.end_ids == [1, 261, 2]


@pytest.mark.parametrize(
    ("settings", "expected"), [({}, True), ({"add_bos_token": False}, False), ({"add_bos_token": None}, True)]
)
def test_first_token(tmp_path: Path, settings: dict[str, Any], expected: bool) -> None:
    """The post-processor shows it; tokenizer_config.json may say otherwise."""
    post = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    }
    found = load(
        tmp_path, tokenizer__json={**tokenizer(), "post_processor": post}, tokenizer_config__json=settings
    )
    assert found.flags["add_bos_token"] is expected
    assert found.flags["add_eos_token"] is False
    assert found.special["bos"] == 260


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ({"tokenizer_config__json": {"chat_template": "A"}}, {"default": "A"}),
        (
            {
                "tokenizer_config__json": {
                    "chat_template": [
                        {"name": "default", "template": "A"},
                        {"name": "tool_use", "template": "T"},
                    ]
                }
            },
            {"default": "A", "tool_use": "T"},
        ),
        ({"tokenizer_config__json": {"chat_template": "A"}, "chat_template__jinja": "J"}, {"default": "J"}),
        ({"chat_template__json": {"chat_template": "C"}}, {"default": "C"}),
        ({}, {}),
    ],
)
def test_chat_templates(tmp_path: Path, contents: dict[str, Any], expected: dict[str, str]) -> None:
    """A template in any of its places."""
    assert load(tmp_path, tokenizer__json=tokenizer(), **contents).chat_templates == expected


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="unknown tokenizer format"):
        load(tmp_path, tokenizer_config__json={})


def test_word_list(tmp_path: Path) -> None:
    """BERT's vocab.txt: words get a mark, continuations lose theirs."""
    found = load(tmp_path, vocab__txt="[PAD]\n[UNK]\n[CLS]\n[SEP]\nword\n##ing\n")
    assert found.tokens == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581word", "ing"]
    assert found.special == {"unknown": 1, "bos": 2, "eos": 3, "seperator": 3, "padding": 0}


def test_fit() -> None:
    """As many tokens as vectors: padded, or cut where nothing is lost."""
    vocabulary = Vocabulary("gpt2", "gpt-2", ["a", "b", "[PAD0]"], [1, 1, 4])
    vocabulary.fit(5)
    assert vocabulary.tokens == ["a", "b", "[PAD0]", "[PAD0]_", "[PAD1]"]
    vocabulary.fit(2)
    assert vocabulary.tokens == ["a", "b"]
    with pytest.raises(ConversionError, match="only has vectors for 1"):
        vocabulary.fit(1)


def test_a_token_twice(tmp_path: Path) -> None:
    """The engine stops at such a file, so it is not written."""
    source = tokenizer()
    source["added_tokens"] = [{"id": 262, "content": "hello", "special": False}]
    source["model"]["vocab"]["x" * 3] = 262
    vocabulary = load(tmp_path, tokenizer__json=source)
    from corral.weights.convert.output import Output

    with pytest.raises(ConversionError, match="'hello' twice"):
        vocabulary.write(Output("llama"))
