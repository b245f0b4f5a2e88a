"""Tokenizers of Hugging Face folders in the forms the engine knows."""

from corral.weights.convert.tokenizer.load import load_vocabulary
from corral.weights.convert.tokenizer.vocabulary import Vocabulary

__all__ = ["Vocabulary", "load_vocabulary"]
