"""Sentence models with a SentencePiece vocabulary: its normalisation table is base64 in an array of characters."""

from __future__ import annotations

import base64
import binascii

from corral.errors import GGUFError
from corral.weights.gguf import decode_value
from corral.weights.translate.translated_file import TranslatedFile

_TABLE = "tokenizer.ggml.precompiled_charsmap"


def text(view: TranslatedFile) -> bool:
    if view.get("tokenizer.ggml.model") != "t5" or _TABLE not in view.values:
        return False
    kind, value = decode_value(view.values[_TABLE])
    if kind != "string" or not isinstance(value, list) or any(len(part) != 1 for part in value):
        return False
    try:
        data = base64.b64decode(b"".join(value), validate=True)
    except binascii.Error as exc:
        raise GGUFError(f"{_TABLE} is not base64: {exc}") from exc
    view.put(_TABLE, list(data), "uint8")
    return True
