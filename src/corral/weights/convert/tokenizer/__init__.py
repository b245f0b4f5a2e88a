"""Converts the tokenizers of Hugging Face folders to the engine's formats."""

from corral.weights.convert.tokenizer.load import load_vocabulary
from corral.weights.convert.tokenizer.vocabulary import Vocabulary

__all__ = ["Vocabulary", "load_vocabulary"]
