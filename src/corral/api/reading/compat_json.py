"""The scanner of the standard library's `json`, which Python does not document. Nothing else may use it.

It is what `JSONDecoder.raw_decode` itself is made of, and the only way to learn where a value ends.
`tests/api/test_compat_json.py` checks what is expected of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json import decoder as _decoder
from typing import Any

# Takes a text and the index after an opening quote, and whether control characters are errors; returns the text and
# the index after the closing quote. Raises json.JSONDecodeError.
scan_string: Callable[[str, int, bool], tuple[str, int]] = vars(_decoder)["scanstring"]


def scanner(decoder: json.JSONDecoder) -> Callable[[str, int], tuple[Any, int]]:
    """A function from a text and the index of a value to that value and the index after it.

    It raises StopIteration with the index at which no value begins, json.JSONDecodeError, RecursionError, and
    whatever the hooks of `decoder` raise.
    """
    scan_once: Callable[[str, int], tuple[Any, int]] = vars(decoder)["scan_once"]
    return scan_once
