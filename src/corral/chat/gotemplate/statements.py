"""Lists, branches, loops and template calls as closures; a program is the compiled trees of one template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from corral.chat.gotemplate import nodes
from corral.chat.gotemplate.evaluate import Body, Execute, ExecutionFailure, State
from corral.chat.gotemplate.expressions import Expressions
from corral.chat.gotemplate.format import format_value
from corral.chat.gotemplate.functions import printable
from corral.chat.gotemplate.literals import quote, to_bytes
from corral.chat.gotemplate.values import NO_VALUE, GoSequence, GoStruct, Uint8, go_type, holds_interfaces
from corral.errors import TemplateError

_BREAK = 1
_CONTINUE = 2


class _Statements(Expressions):
    """Compiles one tree."""

    def body(self, tree: nodes.NodeList) -> Body:
        run = self._list(tree)
        return Body(run, self.n_slots)

    def _list(self, tree: nodes.NodeList) -> Execute:
        steps = tuple(self._statement(node) for node in tree.nodes)
        n_chars = sum(len(node.text) for node in tree.nodes if isinstance(node, nodes.Text))
        n_steps = 1 + sum(map(_weight, tree.nodes))

        def run(state: State, dot: Any) -> int | None:
            state.steps -= n_steps
            state.room -= n_chars
            if state.steps < 0 or state.room < 0:
                state.check()
            for step in steps:
                left = step(state, dot)
                if left is not None:
                    return left
            return None

        return run

    def _statement(self, node: nodes.Node) -> Execute:
        if isinstance(node, nodes.Text):
            return _text(node.text)
        if isinstance(node, nodes.Action):
            return self._action(node)
        if isinstance(node, nodes.Range):
            return self._range(node)
        if isinstance(node, nodes.If | nodes.With):
            return self._condition(node)
        if isinstance(node, nodes.TemplateCall):
            return self._template_call(node)
        if isinstance(node, nodes.Break):
            return lambda state, dot: _BREAK
        assert isinstance(node, nodes.Continue)
        return lambda state, dot: _CONTINUE

    def _action(self, node: nodes.Action) -> Execute:
        evaluate, _ = self.pipe(node.pipe)
        if node.pipe.declared:

            def declare(state: State, dot: Any) -> None:
                evaluate(state, dot)

            return declare

        def show(state: State, dot: Any) -> None:
            value = evaluate(state, dot)
            if type(value) is not str:
                value = _printed(state, node, value)
                state.spend_text(len(value))
            state.room -= len(value)
            if state.room < 0:
                state.check()
            state.out.append(value)

        return show

    def _condition(self, node: nodes.If | nodes.With) -> Execute:
        outer = len(self.scope)
        evaluate, _ = self.pipe(node.pipe)
        inner = len(self.scope)
        body = self._list(node.body)
        del self.scope[inner:]
        otherwise = self._list(node.otherwise) if node.otherwise is not None else _do_nothing
        del self.scope[outer:]
        if isinstance(node, nodes.If):
            return lambda state, dot: body(state, dot) if evaluate(state, dot) else otherwise(state, dot)

        def run_with(state: State, dot: Any) -> int | None:
            value = evaluate(state, dot)
            return body(state, value) if value else otherwise(state, dot)

        return run_with

    def _range(self, node: nodes.Range) -> Execute:
        outer = len(self.scope)
        evaluate, targets = self.pipe(node.pipe)
        inner = len(self.scope)
        body = self._list(node.body)
        del self.scope[inner:]
        otherwise = self._list(node.otherwise) if node.otherwise is not None else _do_nothing
        del self.scope[outer:]
        slots = [slot for _, slot in targets if slot is not None]
        key_slot = slots[0] if len(slots) > 1 else None
        element_slot = slots[-1] if slots else None

        def run(state: State, dot: Any) -> int | None:
            value = evaluate(state, dot)
            frame = state.frame
            is_untyped = holds_interfaces(value)
            is_empty = True
            for key, element in _pairs(state, value, n_variables=len(slots)):
                is_empty = False
                if element_slot is not None:
                    frame[element_slot] = element
                    if key_slot is not None:
                        frame[key_slot] = key
                if is_untyped:
                    state.element = element
                left = body(state, element)
                if left == _BREAK:
                    break
            return otherwise(state, dot) if is_empty else None

        return run

    def _template_call(self, node: nodes.TemplateCall) -> Execute:
        assert node.pipe is not None
        evaluate, _ = self.pipe(node.pipe)
        name = node.name

        def run(state: State, dot: Any) -> None:
            state.node = node
            body = state.bodies.get(name)
            if body is None:
                state.fail(f"template {quote(name)} not defined")
            value = evaluate(state, dot)
            state.node = node
            state.run_body(name, body, value)

        return run


def _weight(node: nodes.Node) -> int:
    """Steps of a statement, without those of the lists in it."""
    pipe = getattr(node, "pipe", None)
    return 1 if pipe is None else 1 + _operands(pipe) // 4


def _operands(node: nodes.Node) -> int:
    if isinstance(node, nodes.Pipe):
        return sum(_operands(arg) for command in node.commands for arg in command.args)
    if isinstance(node, nodes.Chain):
        return len(node.names) + _operands(node.operand)
    return len(node.names) if isinstance(node, nodes.Field | nodes.Variable) else 1


def _text(text: str) -> Execute:
    def run(state: State, dot: Any) -> None:
        state.out.append(text)

    return run


def _do_nothing(state: State, dot: Any) -> None:
    return None


def _printed(state: State, node: nodes.Action, value: Any) -> str:
    """The text of a value that is not a string."""
    if value is NO_VALUE:
        return "<no value>"
    if isinstance(value, GoSequence):
        state.node = node
        state.fail(f"can't print {node} of type {go_type(value)}")
    return format_value(printable(value))


def _pairs(state: State, value: Any, *, n_variables: int) -> Iterable[tuple[object, object]]:
    """What `range` goes through, as keys and elements."""
    if isinstance(value, list):
        return enumerate(value)
    if isinstance(value, dict):
        state.spend_text(len(value) << 6)
        keys = sorted(value) if all(map(str.isascii, value)) else sorted(value, key=to_bytes)
        return [(key, value[key]) for key in keys]
    if value is NO_VALUE:
        return ()
    if isinstance(value, int) and not isinstance(value, bool):
        if n_variables > 1:
            state.fail(f"can't use {value} to iterate over more than one variable")
        kind = type(value)
        return ((NO_VALUE, kind(number)) for number in range(value))
    if isinstance(value, bytes):
        return ((number, Uint8(byte)) for number, byte in enumerate(value))
    if isinstance(value, GoSequence):
        # With one variable, or none, it is the key that the body sees.
        return value.pairs() if n_variables > 1 else ((NO_VALUE, key) for key, _ in value.pairs())
    shown = "<nil>" if isinstance(value, GoStruct) and value.is_nil else format_value(printable(value))
    state.fail(f"range can't iterate over {shown}")


class Program:
    """The compiled trees of a template; immutable, runs any number of times."""

    def __init__(
        self,
        source: str,
        trees: Mapping[str, nodes.NodeList],
        *,
        has_custom_functions: bool = True,
        missing: object = None,
    ) -> None:
        self._source = source
        self._missing = missing
        self._bodies = {
            name: _Statements(has_custom_functions=has_custom_functions).body(tree)
            for name, tree in trees.items()
        }

    def run(self, data: Mapping[str, object], *, quick_until_s: float = 0.0) -> str:
        """Render with `data` as the root value.

        Raises:
            NotQuickError: at `quick_until_s` (evaluate.py) the run has not ended.
            TemplateError: `template: :LINE:COLUMN: executing "NAME" at <EXPRESSION>: MESSAGE`.
        """
        state = State(self._bodies, missing=self._missing, quick_until_s=quick_until_s)
        try:
            state.run_body("", self._bodies[""], data if type(data) is dict else dict(data))
        except ExecutionFailure as failure:
            raise TemplateError(self._placed(state, str(failure))) from None
        except RecursionError:
            raise TemplateError(
                self._placed(state, "the template or its data is nested too deeply")
            ) from None
        return _as_unicode("".join(state.out))

    def _placed(self, state: State, message: str) -> str:
        if state.node is None:
            return f"template: : {message}"
        before = self._source[: state.node.position]
        line_start = before.rfind("\n") + 1
        line = before.count("\n") + 1
        column = len(to_bytes(before[line_start:]))
        return f"template: :{line}:{column}: executing {quote(state.name)} at <{state.node}>: {message}"


def _as_unicode(text: str) -> str:
    """Join bytes that stand beside each other again; what is still no UTF-8 becomes U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        joined = to_bytes(text).decode("utf-8", "surrogateescape")
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in joined)
    return text
