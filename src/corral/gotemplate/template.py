"""A prompt template: parsed once, run often. Instances are immutable and shared through a bounded cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache

from corral.errors import TemplateError
from corral.gotemplate import nodes
from corral.gotemplate.cut import cut_after_response
from corral.gotemplate.functions import is_function
from corral.gotemplate.parser import parse
from corral.gotemplate.statements import Program
from corral.gotemplate.values import NO_VALUE

__all__ = ["Template"]

_MAX_CACHED = 64
_RESPONSE = nodes.Action(nodes.Pipe((nodes.Command((nodes.Field(("Response",)),)),)))


class Template:
    """A template text that parses. One without messages or response slot gets the slot at its end."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._trees = parse(source, is_function)
        self._variables = _variables(self._trees)
        if "messages" not in self._variables and "response" not in self._variables:
            main = self._trees[""]
            self._trees[""] = nodes.NodeList((*main.nodes, _RESPONSE), position=main.position)

    @staticmethod
    def parse(text: str) -> Template:
        """Parse a text, or find it parsed already.

        Raises:
            TemplateError: `template: :LINE: MESSAGE`, as Go words it.
        """
        return _parse_cached(text)

    @property
    def tree(self) -> nodes.NodeList:
        """The main template, with the slot that may have been added."""
        return self._trees[""]

    def variables(self) -> tuple[str, ...]:
        """Names of fields and variables in all templates of the text, in lower case, sorted."""
        return self._variables

    def execute(self, data: Mapping[str, object]) -> str:
        """Render with `data` as the root value.

        Raises:
            TemplateError: `template: :LINE:COLUMN: executing "NAME" at <EXPRESSION>: MESSAGE`.
        """
        return self._program.run(data)

    def execute_to_response(self, data: Mapping[str, object]) -> str:
        """Render up to and with the response slot. Neither Ollama's functions nor defined templates exist here.

        Raises:
            TemplateError
        """
        return self._cut_program.run(data)

    @cached_property
    def _program(self) -> Program:
        return Program(self.source, self._trees)

    @cached_property
    def _cut_program(self) -> Program:
        return Program(
            self.source, {"": cut_after_response(self.tree)}, has_custom_functions=False, missing=NO_VALUE
        )


@lru_cache(maxsize=_MAX_CACHED)
def _parse_cached(text: str) -> Template:
    return Template(text)


def _names(node: nodes.Node) -> Iterator[str]:
    """Names of fields and variables; those around a chain `(…).Field` do not count."""
    if isinstance(node, nodes.Field | nodes.Variable):
        yield from node.names
    elif isinstance(node, nodes.NodeList):
        for child in node.nodes:
            yield from _names(child)
    elif isinstance(node, nodes.Pipe):
        for command in node.commands:
            for arg in command.args:
                yield from _names(arg)
    elif isinstance(node, nodes.Action):
        yield from _names(node.pipe)
    elif isinstance(node, nodes.Branch):
        yield from _names(node.pipe)
        yield from _names(node.body)
        if node.otherwise is not None:
            yield from _names(node.otherwise)
    elif isinstance(node, nodes.TemplateCall):
        if node.pipe is None:
            raise TemplateError("undefined template specified")
        yield from _names(node.pipe)


def _variables(trees: Mapping[str, nodes.NodeList]) -> tuple[str, ...]:
    return tuple(sorted({name.lower() for tree in trees.values() for name in _names(tree)}))
