"""Pipelines, commands and operands as closures.

`Scope` resolves variables to slots while compiling. A closure sets `state.node` wherever Go notes its position, so
that an error names the same place; `None` (nil in an interface) becomes NO_VALUE at the end of a pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from corral.chat.gotemplate import nodes
from corral.chat.gotemplate.evaluate import UNSET, Evaluate, State, field_of, field_with_arguments
from corral.chat.gotemplate.format import OutputLimitError
from corral.chat.gotemplate.functions import BUILTINS, CUSTOM, CallError, Function
from corral.chat.gotemplate.literals import quote
from corral.chat.gotemplate.values import NO_VALUE, go_type, holds_interfaces

# Stands for "no value is piped into this command".
_NOTHING = object()
_LONG_TEXT = 1024

# A command gets what is piped into it as the third argument.
_Command = Callable[[State, Any, Any], Any]


class Expressions:
    """Compiles the expressions of one template; keeps its variables in scope."""

    def __init__(self, *, has_custom_functions: bool) -> None:
        self._functions: Mapping[str, Function] = BUILTINS | CUSTOM if has_custom_functions else BUILTINS
        self.scope: list[tuple[str, int]] = [("$", 0)]
        self.n_slots = 1

    # Variables

    def _slot(self, name: str) -> int | None:
        return next((slot for known, slot in reversed(self.scope) if known == name), None)

    def _declare(self, name: str) -> int:
        slot = self.n_slots
        self.n_slots += 1
        self.scope.append((name, slot))
        return slot

    def targets(self, pipe: nodes.Pipe) -> list[tuple[str, int | None]]:
        """Declare the variables of a pipeline, or find those that it assigns; None: a variable is unknown."""
        names = [variable.names[0] for variable in pipe.declared]
        if pipe.is_assignment:
            return [(name, self._slot(name)) for name in names]
        return [(name, self._declare(name)) for name in names]

    # Pipelines

    def pipe(self, pipe: nodes.Pipe) -> tuple[Evaluate, list[tuple[str, int | None]]]:
        """Compile a pipeline; returns its closure and the variables that it sets."""
        evaluate = self._chain(pipe)
        targets = self.targets(pipe)
        if not targets:
            return evaluate, targets

        def assign(state: State, dot: Any) -> Any:
            value = evaluate(state, dot)
            for name, slot in targets:
                if slot is None or (pipe.is_assignment and state.frame[slot] is UNSET):
                    state.fail(f"undefined variable: {name}")
                state.frame[slot] = value
            return value

        return assign, targets

    def _chain(self, pipe: nodes.Pipe) -> Evaluate:
        commands = [self._command(command, pipe, is_first=i == 0) for i, command in enumerate(pipe.commands)]
        if len(commands) == 1:
            only = commands[0]

            def run_one(state: State, dot: Any) -> Any:
                value = only(state, dot, _NOTHING)
                return NO_VALUE if value is None else value

            return run_one

        def run(state: State, dot: Any) -> Any:
            value: Any = _NOTHING
            for command in commands:
                value = command(state, dot, value)
                if value is None:
                    value = NO_VALUE
            return value

        return run

    def _command(self, command: nodes.Command, pipe: nodes.Pipe, *, is_first: bool) -> _Command:
        head = command.args[0]
        has_arguments = len(command.args) > 1 or not is_first
        if isinstance(head, nodes.FunctionName):
            return self._call(head, command, command.args[1:], is_first=is_first)
        if isinstance(head, nodes.Field):
            return _ignoring_piped(self._field(head, has_arguments))
        if isinstance(head, nodes.Chain):
            return _ignoring_piped(self._chained(head, has_arguments))
        if isinstance(head, nodes.Variable) and len(head.names) > 1:
            return _ignoring_piped(self._variable(head, has_arguments))
        if has_arguments:
            place = pipe if isinstance(head, nodes.Pipe) else head
            return _failing(place, f"can't give argument to non-function {nodes.Command((head,))}")
        if isinstance(head, nodes.Pipe):
            return _ignoring_piped(self.pipe(head)[0])
        if isinstance(head, nodes.NilLiteral):
            return _failing(head, "nil is not a command")
        return _ignoring_piped(self.operand(head))

    # Operands

    def operand(self, node: nodes.Node) -> Evaluate:
        """Compile one operand as an argument that takes any value."""
        if isinstance(node, nodes.Field):
            return self._field(node, has_arguments=False)
        if isinstance(node, nodes.Variable):
            return self._variable(node, has_arguments=False)
        if isinstance(node, nodes.Pipe):
            return self.pipe(node)[0]
        if isinstance(node, nodes.Chain):
            return self._chained(node, has_arguments=False)
        if isinstance(node, nodes.FunctionName):
            call = self._call(node, node, (), is_first=True)
            return lambda state, dot: call(state, dot, _NOTHING)
        if isinstance(node, nodes.Dot):
            return _at(node, lambda state, dot: dot)
        if isinstance(node, nodes.NilLiteral):
            return _constant(node, NO_VALUE)
        if isinstance(node, nodes.NumberLiteral) and node.value is None:
            failing = _failing(node, f"{node.text} overflows int")
            return lambda state, dot: failing(state, dot, _NOTHING)
        assert isinstance(node, nodes.Bool | nodes.NumberLiteral | nodes.StringLiteral)
        return _constant(node, node.value)

    def _field(self, node: nodes.Field, has_arguments: bool) -> Evaluate:
        if len(node.names) == 1 and not has_arguments:
            name = node.names[0]

            def run(state: State, dot: Any) -> Any:
                state.node = node
                return field_of(state, dot, name)

            return run
        return _fields(node, node.names, lambda state, dot: dot, has_arguments)

    def _variable(self, node: nodes.Variable, has_arguments: bool) -> Evaluate:
        name = node.names[0]
        slot = self._slot(name)
        if slot is None:
            failing = _failing(node, f"undefined variable: {name}")
            return lambda state, dot: failing(state, dot, _NOTHING)

        def run(state: State, dot: Any) -> Any:
            state.node = node
            value = state.frame[slot]
            if value is UNSET:
                state.fail(f"undefined variable: {name}")
            return value

        return _fields(node, node.names[1:], run, has_arguments) if len(node.names) > 1 else run

    def _chained(self, node: nodes.Chain, has_arguments: bool) -> Evaluate:
        if isinstance(node.operand, nodes.NilLiteral):
            failing = _failing(node, f"indirection through explicit nil in {node}")
            return lambda state, dot: failing(state, dot, _NOTHING)
        operand = self.operand(node.operand)
        return _fields(None, node.names, operand, has_arguments)

    # Calls

    def _call(
        self, head: nodes.FunctionName, place: nodes.Node, args: Sequence[nodes.Node], *, is_first: bool
    ) -> _Command:
        name = head.name
        if name in ("and", "or"):
            return self._short_circuit(head, args, is_first=is_first)
        function = self._functions.get(name)
        if function is None:
            return _failing(head, f"{quote(name)} is not a defined function")
        n_args = len(args) + (not is_first)
        if function.is_variadic and n_args < function.min_args:
            wanted = f"at least {function.min_args}"
            return _failing(head, f"wrong number of args for {name}: want {wanted} got {len(args)}")
        if not function.is_variadic and n_args != function.min_args:
            return _failing(head, f"wrong number of args for {name}: want {function.min_args} got {n_args}")
        converters = [_CONVERTERS[_parameter(function, i)] for i in range(n_args)]
        operands = [convert(self, arg) for convert, arg in zip(converters, args, strict=False)]
        if name == "eq" and is_first and len(operands) == 2:
            return _equal_call(place, operands[0], operands[1])
        check_piped = None if is_first else _PIPED_CHECKS[_parameter(function, n_args - 1)]
        invoke = function.call
        if name == "call":
            invoke = partial(invoke, str(nodes.Command((args[0],))) if args else "")

        def run(state: State, dot: Any, piped: Any) -> Any:
            state.node = head
            values = [operand(state, dot) for operand in operands]
            if check_piped is not None:
                values.append(check_piped(state, piped))
            for value in values:
                if isinstance(value, str | list) and len(value) > _LONG_TEXT:
                    state.spend_text(len(value))
            try:
                result = invoke(*values)
            except CallError as error:
                state.node = place
                state.fail(f"error calling {name}: {error}")
            except OutputLimitError:
                state.node = place
                state.fail(f"error calling {name}: the text is too long")
            if isinstance(result, str) and len(result) > _LONG_TEXT:
                state.spend_text(len(result))
            return result

        return run

    def _short_circuit(
        self, head: nodes.FunctionName, args: Sequence[nodes.Node], *, is_first: bool
    ) -> _Command:
        """`and` and `or` return the operand that decides, and leave the rest alone."""
        if not args and is_first:
            return _failing(head, f"wrong number of args for {head.name}: want at least 1 got 0")
        operands = [self.operand(arg) for arg in args]
        stops_at = head.name == "or"

        def run(state: State, dot: Any, piped: Any) -> Any:
            state.node = head
            value: Any = NO_VALUE
            for operand in operands:
                value = operand(state, dot)
                if bool(value) is stops_at:
                    return value
            return value if piped is _NOTHING else piped

        return run


# Small closures


def _at(node: nodes.Node, evaluate: Evaluate) -> Evaluate:
    def run(state: State, dot: Any) -> Any:
        state.node = node
        return evaluate(state, dot)

    return run


def _constant(node: nodes.Node, value: object) -> Evaluate:
    def run(state: State, dot: Any) -> Any:
        state.node = node
        return value

    return run


def _ignoring_piped(evaluate: Evaluate) -> _Command:
    return lambda state, dot, piped: evaluate(state, dot)


def _failing(node: nodes.Node, message: str) -> _Command:
    def run(state: State, dot: Any, piped: Any) -> Any:
        state.node = node
        state.fail(message)

    return run


def _fields(
    node: nodes.Node | None, names: tuple[str, ...], receiver: Evaluate, has_arguments: bool
) -> Evaluate:
    """Read one field after the other. With `node` None the place is where the receiver ended."""
    last = len(names) - 1

    def run(state: State, dot: Any) -> Any:
        value = receiver(state, dot)
        if node is not None:
            state.node = node
        holder: Any = None
        for i, name in enumerate(names):
            if i:
                # Only an error asks for it: what comes out of an untyped map is seen through an interface.
                state.element = value if holds_interfaces(holder) else UNSET
            holder = value
            read = field_with_arguments if has_arguments and i == last else field_of
            value = read(state, value, name)
        return value

    return run


def _equal_call(place: nodes.Node, left: Evaluate, right: Evaluate) -> _Command:
    """`eq` with two operands, most often of strings."""
    compare = BUILTINS["eq"].call

    def run(state: State, dot: Any, piped: Any) -> Any:
        one, other = left(state, dot), right(state, dot)
        if type(one) is str and type(other) is str:
            if len(one) > _LONG_TEXT:
                state.spend_text(len(one))
            return one == other
        try:
            return compare(one, other)
        except CallError as error:
            state.node = place
            state.fail(f"error calling eq: {error}")

    return run


# Parameters: how an argument of each type is compiled, and what a piped value has to be


def _parameter(function: Function, index: int) -> str:
    if function.parameters == "text first":
        return "text" if index == 0 else "any"
    return function.parameters


def _any_operand(expressions: Expressions, node: nodes.Node) -> Evaluate:
    evaluate = expressions.operand(node)

    def run(state: State, dot: Any) -> Any:
        value = evaluate(state, dot)
        return None if value is NO_VALUE else value

    return run


def _text_operand(expressions: Expressions, node: nodes.Node) -> Evaluate:
    evaluate = expressions.operand(node)
    if isinstance(node, nodes.StringLiteral):
        return evaluate
    if isinstance(node, nodes.NilLiteral):
        failing = _failing(node, "cannot assign nil to string")
        return lambda state, dot: failing(state, dot, _NOTHING)
    if isinstance(node, nodes.Bool | nodes.NumberLiteral):
        failing = _failing(node, f"expected string; found {node}")
        return lambda state, dot: failing(state, dot, _NOTHING)
    return lambda state, dot: _checked_text(state, evaluate(state, dot))


def _checked_text(state: State, value: Any) -> Any:
    if isinstance(value, str):
        return value
    if value is NO_VALUE:
        state.fail("invalid value; expected string")
    found = "interface {}" if value is None else go_type(value)
    state.fail(f"wrong type for value; expected string; found {found}")


_CONVERTERS: dict[str, Callable[[Expressions, nodes.Node], Evaluate]] = {
    "value": Expressions.operand,
    "any": _any_operand,
    "text": _text_operand,
}
_PIPED_CHECKS: dict[str, Callable[[State, Any], Any]] = {
    "value": lambda state, value: value,
    "any": lambda state, value: None if value is NO_VALUE else value,
    "text": _checked_text,
}
