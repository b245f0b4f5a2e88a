"""The tokens that a template is told of, whatever a file says about them."""

from __future__ import annotations

from typing import Any

import pytest

from corral.inference.chat_choice import special_token
from corral.weights.gguf import GGUFFile
from tests.conftest import FIXTURES

TOKENS = GGUFFile.open(FIXTURES / "tiny.gguf").metadata["tokenizer.ggml.tokens"]


@pytest.mark.parametrize("tokens", [5, 4.5, True, "text", None, [], GGUFFile])
def test_tokens_of_another_type_are_none(tokens: Any) -> None:
    """A number, a text or nothing in place of the list gives no token, and no error."""
    assert special_token({"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.tokens": tokens}, "bos") == ""


@pytest.mark.parametrize("number", [-1, 10**9, "1", 1.0, None, []])
def test_numbers_that_name_no_token(number: Any) -> None:
    """Out of range, or not a number."""
    assert (
        special_token({"tokenizer.ggml.bos_token_id": number, "tokenizer.ggml.tokens": TOKENS}, "bos") == ""
    )


def test_a_token() -> None:
    """The text of the one that is named."""
    found = special_token({"tokenizer.ggml.eos_token_id": 3, "tokenizer.ggml.tokens": TOKENS}, "eos")
    assert found == TOKENS.values()[3]
