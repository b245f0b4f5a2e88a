"""The line of a run in the debug log: what binds it."""

from __future__ import annotations

import pytest

from corral.inference.bindings import Binding
from corral.inference.run_log import kinds_of


@pytest.mark.parametrize(
    ("binding", "text"),
    [
        (Binding(), "none"),
        (Binding(format='"json"'), "json"),
        (Binding(format="{}", thinking="may"), "schema,after-thinking"),
        (Binding(grammar="root ::= [a]", calls="may", thinking="begun"), "grammar,calls:may,after-thinking"),
        (Binding(calls="after text"), "calls:after-text"),
    ],
)
def test_what_binds(binding: Binding, text: str) -> None:
    """As docs/troubleshooting.md has it."""
    assert kinds_of(binding) == text
