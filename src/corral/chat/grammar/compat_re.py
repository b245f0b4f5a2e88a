"""The parser of `re` and the names of its tree, which Python does not document. Nothing else may import them.

A tree is a list of pairs: a constant, and an argument whose shape depends on it.
`tests/chat/grammar/test_compat_re.py` checks the shapes that `patterns.py` reads.
"""

from __future__ import annotations

import re
import re._constants as _constants  # type: ignore[import-not-found]
import re._parser as _parser  # type: ignore[import-not-found]
import warnings
from typing import Any

sre: Any = _constants
Tree = list[tuple[Any, Any]]


def parse(pattern: str) -> tuple[Tree, bool]:
    """The tree of a pattern, and whether it ignores case.

    Raises:
        re.error, OverflowError, RecursionError
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = _parser.parse(pattern)
    return list(parsed), bool(parsed.state.flags & re.IGNORECASE)
