"""The one private of Jinja2 that the sandbox overrides: a version that does without it fails here."""

from __future__ import annotations

import jinja2
from jinja2 import nodes


def test_compiling_parses_with_the_private_method() -> None:
    """`_parse` gets source, name and file name and returns the tree that is compiled."""
    seen: list[tuple[str, str | None, str | None]] = []

    class Watched(jinja2.Environment):
        def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
            seen.append((source, name, filename))
            tree = super()._parse(source, name, filename)
            assert isinstance(tree, nodes.Template)
            return tree

    assert Watched().from_string("{{ 1 + 1 }}").render() == "2"
    assert seen == [("{{ 1 + 1 }}", None, None)]
