"""The state of one execution, its bounds, and field access.

A tree is compiled once into closures (expressions.py, statements.py) that get a State and the current dot. A State
belongs to one execution; closures hold nothing that changes, so that one template renders in many threads.
Bounds: steps (statements, loop rounds, long texts handled), characters of output, depth of template calls.

A quick run, for the event loop, looks at the clock every few steps and gives up at `quick_until_s`, in processor time
of its thread (`time.thread_time`). It is only for templates without functions that make texts, and for small data:
then no single step can take long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from corral.chat.gotemplate.nodes import Node
from corral.chat.gotemplate.values import NO_VALUE, GoList, GoMap, GoStruct, go_type

MAX_STEPS = 5_000_000
MAX_OUTPUT_CHARS = 32 * 1024 * 1024
MAX_DEPTH = 100

_QUICK_STEPS = 64

# One step stands for this many characters of text that a function reads or makes (a power of two).
_CHARS_PER_STEP_LOG2 = 6

# A variable slot whose declaration has not run.
UNSET = object()


class ExecutionFailure(Exception):
    """A fault at `State.node`; the text is Go's, without the place."""


class NotQuickError(Exception):
    """A quick run takes too long: run again, in a worker."""


@dataclass(frozen=True, slots=True)
class Body:
    """A compiled template: `run`, and how many variable slots it uses."""

    run: Execute
    n_slots: int


class State:
    """What changes while a template runs."""

    __slots__ = (
        *("bodies", "depth", "element", "frame", "missing", "name", "node", "out", "quick_until_s"),
        *("room", "steps"),
    )

    def __init__(self, bodies: Mapping[str, Body], *, missing: object, quick_until_s: float) -> None:
        self.bodies = bodies
        # What a plain map gives for a key that it does not have.
        self.missing = missing
        self.node: Node | None = None
        self.name = ""
        self.frame: list[Any] = []
        self.out: list[str] = []
        self.room = MAX_OUTPUT_CHARS
        self.steps = _QUICK_STEPS if quick_until_s else MAX_STEPS
        self.quick_until_s = quick_until_s
        self.depth = 0
        # The element of an untyped list or map that the innermost loop is at.
        self.element: object = UNSET

    def fail(self, message: str) -> NoReturn:
        raise ExecutionFailure(message)

    def check(self) -> None:
        """Fail when a bound is passed."""
        if self.steps < 0 and self.quick_until_s:
            if time.thread_time() > self.quick_until_s:
                raise NotQuickError
            self.steps = _QUICK_STEPS
        if self.steps < 0:
            self.fail(f"the template runs for more than {MAX_STEPS} steps")
        if self.room < 0:
            self.fail(f"the template makes more than {MAX_OUTPUT_CHARS} characters")

    def spend_text(self, length: int) -> None:
        """Count work on a text or list of this length."""
        self.steps -= length >> _CHARS_PER_STEP_LOG2
        if self.steps < 0:
            self.check()

    def write(self, text: str) -> None:
        self.room -= len(text)
        if self.room < 0:
            self.check()
        self.out.append(text)

    def run_body(self, name: str, body: Body, dot: object) -> None:
        """Run a template with its own variables; `$` is the dot."""
        if self.depth >= MAX_DEPTH:
            self.fail(f"exceeded maximum template depth ({MAX_DEPTH})")
        outer = (self.name, self.frame)
        self.name = name
        self.frame = [UNSET] * body.n_slots
        self.frame[0] = dot
        self.depth += 1
        body.run(self, dot)
        self.depth -= 1
        self.name, self.frame = outer


Evaluate = Callable[[State, Any], Any]
# A statement returns None, or how it left the loop around it.
Execute = Callable[[State, Any], "int | None"]


def field_of(state: State, receiver: Any, name: str) -> Any:
    """Read a field, map entry or method without arguments. `state.node` is what an error names."""
    if isinstance(receiver, GoStruct):
        fields = receiver.fields
        if name in fields:
            return fields[name]
    elif type(receiver) is dict:
        return receiver.get(name, state.missing)
    return _unusual_field(state, receiver, name, has_arguments=False)


def field_with_arguments(state: State, receiver: Any, name: str) -> Any:
    """Like `field_of` for `.Name arg`, which only fails: no field of ours is a function with parameters."""
    return _unusual_field(state, receiver, name, has_arguments=True)


def _unusual_field(state: State, receiver: Any, name: str, *, has_arguments: bool) -> Any:
    if receiver is NO_VALUE:
        return NO_VALUE
    if receiver is None:
        state.fail(f"nil pointer evaluating interface {{}}.{name}")
    if isinstance(receiver, GoStruct | GoList | GoMap):
        method = receiver.methods.get(name)
        if method is not None:
            if has_arguments:
                state.fail(f"wrong number of args for {name}: want 0 got 1")
            result = method(receiver)
            if isinstance(result, str):
                state.spend_text(len(result))
            if state.quick_until_s:
                state.steps = -1
                state.check()
            return result
    if isinstance(receiver, dict):
        if has_arguments:
            state.fail(f"{name} is not a method but has arguments")
        if name in receiver:
            return receiver[name]
        if state.missing is NO_VALUE or not isinstance(receiver, GoMap):
            return state.missing
        return receiver.zero()
    if has_arguments and isinstance(receiver, GoStruct) and name in receiver.fields:
        state.fail(f"{name} has arguments but cannot be invoked as function")
    state.fail(f"can't evaluate field {name} in type {_seen_type(state, receiver)}")


def _seen_type(state: State, receiver: object) -> str:
    # What came out of an untyped list is seen through an interface.
    return "interface {}" if receiver is state.element else go_type(receiver)
