"""Llama 3 files from before llama.cpp distinguished its tokenizers, and those with a wrong end-of-turn token."""

from __future__ import annotations

from corral.weights.gguf import GGUFArray
from corral.weights.translate.translated_file import TranslatedFile

_END_OF_TEXT, _START_HEADER, _END_OF_TURN = 128_001, 128_006, 128_009
_MARKS = ("<|start_header_id|>", "<|eot_id|>")


def text(view: TranslatedFile) -> bool:
    tokens = view.gguf.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, GGUFArray) or tokens.element_type != "string" or len(tokens) <= _END_OF_TURN:
        return False
    is_untold = view.get("tokenizer.ggml.pre", "") in ("", "default")
    if not is_untold and view.get("tokenizer.ggml.eos_token_id") != _END_OF_TEXT:
        return False
    if not _is_llama3(view, tokens):
        return False
    if is_untold:
        view.put("tokenizer.ggml.pre", "llama-bpe", "string")
    view.put("tokenizer.ggml.eos_token_id", _END_OF_TURN, "uint32")
    if view.get("tokenizer.ggml.eot_token_id", _END_OF_TEXT) == _END_OF_TEXT:
        view.put("tokenizer.ggml.eot_token_id", _END_OF_TURN, "uint32")
    view.put("tokenizer.ggml.eos_token_ids", [_END_OF_TURN], "int32")
    return True


def _is_llama3(view: TranslatedFile, tokens: GGUFArray) -> bool:
    marks = (_START_HEADER, _END_OF_TURN)
    found = {i: token for i, token in enumerate(tokens.byte_strings()) if i in marks}
    if found.get(_END_OF_TURN) != b"<|eot_id|>":
        return False
    template = view.get("tokenizer.chat_template", "")
    return found[_START_HEADER] == b"<|start_header_id|>" or any(mark in template for mark in _MARKS)
