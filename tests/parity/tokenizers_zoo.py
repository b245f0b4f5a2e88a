"""Small tokenizers in the style of each family, trained on the project's own texts."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.parity.texts import texts

VOCAB = 900
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_TAIL}"
)
QWEN2 = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_TAIL}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_START = r"[^\r\n\p{L}\p{N}]?"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
TEKKEN = rf"{_START}{_UPPER}*{_LOWER}+|{_START}{_UPPER}+{_LOWER}*|\p{{N}}|{_SLASHED}|{_TAIL}"
GPT4O = (
    rf"{_START}{_UPPER}*{_LOWER}+{_CONTRACTION}?|{_START}{_UPPER}+{_LOWER}*{_CONTRACTION}?"
    rf"|\p{{N}}{{1,3}}|{_SLASHED}|{_TAIL}"
)


@cache
def corpus() -> list[str]:
    folder = Path(__file__).parent.parent.parent
    pages = [path.read_text() for path in sorted((folder / "docs").glob("*.md"))]
    code = [path.read_text() for path in sorted((folder / "src" / "corral").glob("*.py"))]
    return [*texts(), *"".join(pages).split("\n"), *"".join(code).split("\n")]


def byte_level(pattern: str | None, *, ignore_merges: bool = False, digits: bool = False) -> Tokenizer:
    """Byte-level BPE: split by `pattern`, or by GPT-2's own when None."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    if pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>", "<|turn|>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    return tokenizer


def token(tokenizer: Tokenizer, text: str) -> tuple[str, int]:
    """A token of the vocabulary as post-processors name it."""
    number = tokenizer.token_to_id(text)
    assert number is not None, text
    return text, number


def surrounded(tokenizer: Tokenizer, first: str, last: str | None = None) -> Tokenizer:
    """With a first token, and a last one, added to each text."""
    names = [name for name in (first, last) if name]
    single = f"{first} $A {last}" if last else f"{first} $A"
    pair = f"{first} $A {last} {last} $B {last}" if last else f"{first} $A $B"
    ids = [token(tokenizer, name) for name in names]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    return tokenizer


@cache
def sentencepiece_model(kind: str, *, prefix: bool) -> bytes:
    """A SentencePiece model file, `kind` bpe or unigram."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()),
        model_writer=model,
        vocab_size=VOCAB,
        model_type=kind,
        byte_fallback=kind == "bpe",
        character_coverage=0.995,
        hard_vocab_limit=False,
        add_dummy_prefix=prefix,
        remove_extra_whitespaces=kind == "unigram",
        normalization_rule_name="nmt_nfkc" if kind == "unigram" else "identity",
        allow_whitespace_only_pieces=kind == "bpe",
        split_digits=kind == "bpe",
        minloglevel=2,
    )
    return model.getvalue()


def sentencepiece_bpe(*, prefix: bool) -> Tokenizer:
    """The tokenizer.json that belongs to a SentencePiece BPE model."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model("bpe", prefix=prefix))
    vocab = {pieces.id_to_piece(number): number for number in range(pieces.get_piece_size())}
    merges = []
    for text, number in vocab.items():
        splits = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        known = [(a, b) for a, b in splits if a in vocab and b in vocab and pieces.is_unused(number) is False]
        merges += [(number, vocab[a], vocab[b], (a, b)) for a, b in known if not pieces.is_byte(number)]
    # Pieces are numbered from the best score down.
    tokenizer = Tokenizer(
        models.BPE(
            vocab, [m[3] for m in sorted(merges)], unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )
    steps: list[Any] = [normalizers.Prepend("\u2581")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def unigram() -> Tokenizer:
    """XLM-R's: ids begin with <s>, <pad>, </s>, <unk>; <mask> is last."""
    from transformers.convert_slow_tokenizer import import_protobuf  # the proto, as transformers reads it

    proto = import_protobuf().ModelProto.FromString(sentencepiece_model("unigram", prefix=True))
    pieces = [(p.piece, p.score) for p in proto.pieces[3:]]
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces, ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return surrounded(tokenizer, "<s>", "</s>")


def word_piece(*, lowercase: bool) -> Tokenizer:
    """BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=VOCAB, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer
