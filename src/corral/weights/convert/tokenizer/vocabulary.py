"""A vocabulary in the engine's format, and its metadata keys."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from corral.errors import ConversionError
from corral.weights.convert.output import Output

MAX_TOKENS = 2_000_000


class TokenType(IntEnum):
    """Numbers of enum llama_token_type in llama.h."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(slots=True)
class Vocabulary:
    """Tokens by id. `model` is the engine's kind of vocabulary: gpt2, llama (SentencePiece), bert or t5 (unigram).

    `flags` are further keys below `tokenizer.ggml.`; `special` are the ids of special tokens by GGUF's names.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] = field(default_factory=list)
    charsmap: bytes = b""
    flags: dict[str, bool] = field(default_factory=dict)
    special: dict[str, int] = field(default_factory=dict)
    end_ids: list[int] = field(default_factory=list)
    chat_templates: dict[str, str] = field(default_factory=dict)

    def fit(self, n_rows: int) -> None:
        """Adjust the number of tokens to the rows of the embedding: pad, or drop tokens without a vector.

        Raises:
            ConversionError: a normal token would be dropped.
        """
        excess = range(n_rows, len(self.tokens))
        if any(self.types[token] in (TokenType.NORMAL, TokenType.BYTE) for token in excess):
            raise ConversionError(
                f"the tokenizer has {len(self.tokens)} tokens, but the model only has vectors for {n_rows}"
            )
        del self.tokens[n_rows:], self.types[n_rows:]
        if self.scores is not None:
            del self.scores[n_rows:]
        if n_rows > MAX_TOKENS:
            raise ConversionError(f"a vocabulary of {n_rows} tokens is more than any model has")
        taken = set(self.tokens)
        for number in range(n_rows - len(self.tokens)):
            text = f"[PAD{number}]"
            while text in taken:
                text += "_"
            self.tokens.append(text)
            self.types.append(TokenType.UNUSED)
            if self.scores is not None:
                self.scores.append(-10_000.0)
        self.special = {name: token for name, token in self.special.items() if token < n_rows}

    def write(self, out: Output) -> None:
        """Write the keys.

        Raises:
            ConversionError: two tokens have the same text, which the engine cannot load.
        """
        if len(set(self.tokens)) != len(self.tokens):
            twice = next(text for text, count in Counter(self.tokens).items() if count > 1)
            raise ConversionError(f"the tokenizer has the token {twice[:80]!r} twice")
        prefix = "tokenizer.ggml."
        out.set(f"{prefix}model", self.model)
        out.set(f"{prefix}pre", self.pre)
        out.set_array(f"{prefix}tokens", self.tokens, "string")
        if self.scores is not None:
            out.set_array(f"{prefix}scores", self.scores, "float32")
        out.set_array(f"{prefix}token_type", self.types, "int32")
        out.set_array(f"{prefix}merges", self.merges, "string")
        out.set_array(f"{prefix}precompiled_charsmap", self.charsmap, "uint8")
        for name, is_on in self.flags.items():
            out.set(prefix + name, is_on)
        for name, token in self.special.items():
            out.set_int(f"{prefix}{name}_token_id", token)
        out.set_array(f"{prefix}eos_token_ids", self.end_ids, "int32")
        for name, template in self.chat_templates.items():
            key = "tokenizer.chat_template"
            out.set(key if name == "default" else f"{key}.{name}", template)
