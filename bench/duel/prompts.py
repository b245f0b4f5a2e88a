"""Prompts from a seed: the same for every peer of a round, and never the same twice in a run."""

from __future__ import annotations

import random
from dataclasses import dataclass

_WORDS = (
    "river stone copper seven window garden letter winter music paper horse silver engine candle bridge island "
    "morning circle mountain yellow doctor kitchen travel simple market summer village forest station number "
    "picture family evening history water little people second question between country answer follow story "
    "always together children example important company without another system program several thousand"
).split()


@dataclass(frozen=True, slots=True)
class Scale:
    """How many tokens a prompt of so many words has: `fixed` for the template, `per_word` for each word."""

    fixed: float = 20.0
    per_word: float = 1.3

    @classmethod
    def measured(cls, short: tuple[int, int], long: tuple[int, int]) -> Scale:
        """From two prompts, each its count of words and of tokens. Raises ValueError if they make no sense."""
        per_word = (long[1] - short[1]) / (long[0] - short[0])
        if per_word <= 0:
            raise ValueError(f"{long[0]} words have {long[1]} tokens, {short[0]} words {short[1]}")
        return cls(max(short[1] - short[0] * per_word, 0.0), per_word)

    def words(self, token_count: int) -> int:
        return max(int((token_count - self.fixed) / self.per_word), 1)


class PromptMaker:
    """Makes prompts. Two makers of the same seed make the same ones in the same order."""

    def __init__(self, seed: str, scale: Scale) -> None:
        self._random = random.Random(seed)
        self._scale = scale

    def text(self, word_count: int) -> str:
        """So many words. The first ones are drawn from billions of orders, so that no two texts begin alike."""
        return " ".join(self._random.choices(_WORDS, k=word_count))

    def tokens(self, token_count: int) -> str:
        """A text that makes a prompt of about so many tokens, template included."""
        return self.text(self._scale.words(token_count))

    def story(self) -> str:
        """A short request for a long reply, in words that nobody can foresee."""
        return f"{self.text(6)}. Tell me a very long story about these words, with many details."

    def count(self) -> str:
        """A short request for a reply that goes on and on."""
        return f"{self.text(6)}. Now count from 1 to 1000, one number a line, and leave none out."
