"""A prompt template: parsed once, run often. Instances are immutable and shared through a bounded cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache

from corral.chat.gotemplate import nodes
from corral.chat.gotemplate.cut import cut_after_response
from corral.chat.gotemplate.evaluate import NotQuickError
from corral.chat.gotemplate.functions import is_function
from corral.chat.gotemplate.parser import parse
from corral.chat.gotemplate.statements import Program
from corral.chat.gotemplate.values import NO_VALUE
from corral.errors import TemplateError

_MAX_CACHED = 64
_MAX_CACHED_CHARS = 64 << 10
_MAX_SOURCE_CHARS = 256 << 10
# They make texts of any length, so they are not for the event loop.
_SLOW_FUNCTIONS = frozenset({"call", "html", "js", "print", "printf", "println", "urlquery"})
_RESPONSE = nodes.Action(nodes.Pipe((nodes.Command((nodes.Field(("Response",)),)),)))


class Template:
    """A template text that parses. One without messages or response slot gets the slot at its end."""

    def __init__(self, source: str) -> None:
        if len(source) > _MAX_SOURCE_CHARS:
            raise TemplateError(f"template is longer than {_MAX_SOURCE_CHARS} characters")
        self.source = source
        used: set[str] = set()

        def is_known(name: str) -> bool:
            used.add(name)
            return is_function(name)

        self._trees = parse(source, is_known)
        self._is_slow = not used.isdisjoint(_SLOW_FUNCTIONS)
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
        return _parse_cached(text) if len(text) <= _MAX_CACHED_CHARS else Template(text)

    @property
    def tree(self) -> nodes.NodeList:
        """The main template, with the slot that may have been added."""
        return self._trees[""]

    def variables(self) -> tuple[str, ...]:
        """Names of fields and variables in all templates of the text, in lower case, sorted."""
        return self._variables

    def prepare(self) -> None:
        """Do now what the first execution would do: compile. Takes a millisecond a kilobyte and more."""
        _ = self._program, self._cut_program

    def execute(self, data: Mapping[str, object], *, quick_until_s: float = 0.0) -> str:
        """Render with `data` as the root value. `quick_until_s` makes it a quick execution: see evaluate.py.

        Raises:
            TemplateError: `template: :LINE:COLUMN: executing "NAME" at <EXPRESSION>: MESSAGE`.
            NotQuickError: a quick execution takes too long, or the template may do what takes long.
        """
        return self._run(self._program, data, quick_until_s=quick_until_s)

    def execute_to_response(self, data: Mapping[str, object], *, quick_until_s: float = 0.0) -> str:
        """Render up to and with the response slot. Neither Ollama's functions nor defined templates exist here.

        Raises:
            TemplateError, NotQuickError
        """
        return self._run(self._cut_program, data, quick_until_s=quick_until_s)

    def _run(self, program: Program, data: Mapping[str, object], *, quick_until_s: float) -> str:
        if quick_until_s and self._is_slow:
            raise NotQuickError
        return program.run(data, quick_until_s=quick_until_s)

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
