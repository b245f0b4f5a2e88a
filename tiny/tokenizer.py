"""The byte-level BPE of `corral-tiny`: training, encoding, and the lists that go into the GGUF.

Digits, spaces and line ends never merge while the pieces are learnt, so a word is the same token wherever it stands:
in a sentence, after a quote in JSON, at the start of a reply. Afterwards the commonest whole words get a second token
with their leading space, by merges of the lowest rank. Pre-tokenisation is GPT-2's (`tokenizer.ggml.pre` = gpt-2).

Invariant: the same text gives the same ids here and in the engine (`evaluate.py` compares them).
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

__all__ = ["CONTROL_TOKENS", "MARKER_TOKENS", "SPACE", "load", "train"]

CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKER_TOKENS = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<tools>",
    "</tools>",
]
SPACE = "Ġ"  # how byte-level BPE spells a space


def _learn_pieces(texts: Iterable[str], size: int) -> tuple[list[str], list[tuple[str, str]]]:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"<[^>]*>|\s+|\d"), "removed"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])  # fmt: skip
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab: dict[str, int] = model["vocab"]
    return sorted(vocab, key=lambda token: vocab[token]), [(left, right) for left, right in model["merges"]]


def train(texts: list[str], size: int, space_words: int, path: Path) -> Tokenizer:
    """Learn a vocabulary of exactly `size` tokens, the special ones first, and write it as JSON."""
    specials = [*CONTROL_TOKENS, *MARKER_TOKENS]
    pieces, merges = _learn_pieces(texts, size - len(specials) - space_words)
    known = set(pieces)
    counts = Counter(
        word for text in texts for word in text.split(" ")[1:] if word in known and not word[0].isdigit()
    )
    with_quotes = [
        '"',
        '{"',
        *(word for word, _ in counts.most_common() if word not in ('"', '{"') and word.islower()),
    ]
    spaced = [word for word in with_quotes if word in known][:space_words]
    merges += [(SPACE, word) for word in spaced]
    tokens = [*specials, *pieces, *(SPACE + word for word in spaced)]
    tokenizer = Tokenizer(BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS]
    )
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in MARKER_TOKENS])
    tokenizer.save(str(path))
    return tokenizer


def load(path: Path) -> Tokenizer:
    """Load the tokenizer written by `train`."""
    return Tokenizer.from_file(str(path))
