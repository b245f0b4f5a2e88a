"""The tree of a parsed template. Frozen; a node prints itself as error messages quote it.

`position` is an index into the template text. Positions are those that Go's text/template gives its nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from corral.chat.gotemplate.literals import quote


@dataclass(frozen=True, slots=True)
class Node:
    position: int = field(kw_only=True, default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Text(Node):
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Field(Node):
    """`.A.B`"""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "." + ".".join(self.names)


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """`$x.A`: the first name has the dollar sign."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True, slots=True)
class FunctionName(Node):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Dot(Node):
    def __str__(self) -> str:
        return "."


@dataclass(frozen=True, slots=True)
class NilLiteral(Node):
    def __str__(self) -> str:
        return "nil"


@dataclass(frozen=True, slots=True)
class Bool(Node):
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True, slots=True)
class NumberLiteral(Node):
    """`value` is None when the constant does not fit an int."""

    value: int | float | complex | None
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class StringLiteral(Node):
    value: str
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """A parenthesised pipeline or a function name with fields after it."""

    operand: Pipe | FunctionName | NilLiteral
    names: tuple[str, ...]

    def __str__(self) -> str:
        text = f"({self.operand})" if isinstance(self.operand, Pipe) else str(self.operand)
        return text + "".join("." + name for name in self.names)


@dataclass(frozen=True, slots=True)
class Command(Node):
    args: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


@dataclass(frozen=True, slots=True)
class Pipe(Node):
    commands: tuple[Command, ...]
    declared: tuple[Variable, ...] = ()
    is_assignment: bool = False

    def __str__(self) -> str:
        head = ""
        if self.declared:
            head = ", ".join(map(str, self.declared)) + (" = " if self.is_assignment else " := ")
        return head + " | ".join(map(str, self.commands))


@dataclass(frozen=True, slots=True)
class NodeList(Node):
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.nodes))

    @property
    def is_empty(self) -> bool:
        """Whether nothing but white space is here."""
        return all(isinstance(node, Text) and not node.text.strip() for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Action(Node):
    pipe: Pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


@dataclass(frozen=True, slots=True)
class Break(Node):
    def __str__(self) -> str:
        return "{{break}}"


@dataclass(frozen=True, slots=True)
class Continue(Node):
    def __str__(self) -> str:
        return "{{continue}}"


@dataclass(frozen=True, slots=True)
class Branch(Node):
    """`if`, `range` or `with`; `position` is that of the pipeline."""

    pipe: Pipe
    body: NodeList
    otherwise: NodeList | None = None

    def _text(self, word: str) -> str:
        tail = f"{{{{else}}}}{self.otherwise}" if self.otherwise is not None else ""
        return f"{{{{{word} {self.pipe}}}}}{self.body}{tail}{{{{end}}}}"


@dataclass(frozen=True, slots=True)
class If(Branch):
    def __str__(self) -> str:
        return self._text("if")


@dataclass(frozen=True, slots=True)
class Range(Branch):
    def __str__(self) -> str:
        return self._text("range")


@dataclass(frozen=True, slots=True)
class With(Branch):
    def __str__(self) -> str:
        return self._text("with")


@dataclass(frozen=True, slots=True)
class TemplateCall(Node):
    name: str
    pipe: Pipe | None

    def __str__(self) -> str:
        argument = f" {self.pipe}" if self.pipe is not None else ""
        return f"{{{{template {quote(self.name)}{argument}}}}}"
