"""Jinja for templates of strangers: a sandbox with bounds on steps, time, and the size of every value.

Jinja's sandbox keeps a template from Python's insides. It does not keep it from writing a terabyte or running for
a year, so here every operation that can make more than it is given says beforehand how much that will be, and all
of them spend from one budget. Invariant: no value, written out, is larger than `_MAX_CHARS`, or has more parts than
`MAX_PARTS`.

That bounds what is made, not the time of one call into C, which nothing can stop. So there are two ways to run:
- quick, for the event loop: a few milliseconds, only operations that take time in proportion to their operands, and
  only small operands. Whatever goes beyond raises NotQuickError.
- in full, in a worker process that ends itself when it takes too long.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS as DEFAULT_FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from corral.chat.templates.sandbox_sizes import (
    FILTER_CHECKS,
    MAX_FORMAT_CHARS,
    MAX_PARTS,
    METHOD_CHECKS,
    WIDE,
    check_chars,
    check_format,
    check_numbers,
    check_product,
    written_size,
)
from corral.errors import TemplateRaisedError

_MAX_STEPS = 2_000_000
_MAX_CPU_S = 1.0
_MAX_INDENT = 64
_CHARS_A_STEP = 64
_COUNTED, _JOINED, _LITERAL = "corral_counted", "corral_joined", "corral_literal"
_SEARCHED = "corral_searched"
# Filters that no chat template needs and whose cost is hard to tell.
_NO_FILTERS = ("urlize", "pprint", "xmlattr", "striptags", "random", "filesizeformat", "wordwrap")
# What a quick run may take, and the largest values that it may make.
_QUICK_CPU_S = 0.008
_QUICK_CHARS = 1 << 18
_QUICK_PARTS = 5000
# Steps between two looks at the clock.
_STEPS_A_LOOK = 16
_QUICK_STRIP_CHARS = 16
_QUICK_METHODS = frozenset(
    {
        *("capitalize", "count", "endswith", "find", "get", "isdigit", "items", "join", "keys", "lower"),
        *(
            "lstrip",
            "removeprefix",
            "removesuffix",
            "replace",
            "rfind",
            "rsplit",
            "rstrip",
            "split",
            "splitlines",
        ),
        *("startswith", "strip", "title", "upper", "values"),
    }
)
_QUICK_FILTERS = frozenset(
    {
        *(
            "abs",
            "capitalize",
            "count",
            "d",
            "default",
            "dictsort",
            "e",
            "escape",
            "first",
            "float",
            "indent",
            "int",
        ),
        *(
            "items",
            "join",
            "last",
            "length",
            "list",
            "lower",
            "map",
            "max",
            "min",
            "reject",
            "rejectattr",
            "replace",
        ),
        *(
            "reverse",
            "safe",
            "select",
            "selectattr",
            "sort",
            "string",
            "title",
            "tojson",
            "trim",
            "unique",
            "upper",
        ),
    }
)
# Comparisons are not counted while a template runs: a template with more of them is not for the loop.
QUICK_COMPARISONS = 400


class NotQuickError(Exception):
    """A quick run met something that may take longer: render again, in a worker."""


class _Generation(Extension):
    """`{% generation %}` marks assistant text for training; for prompts its body stands for itself."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


class _Meter(NodeTransformer):
    """Puts filters that count around what the sandbox does not intercept: loops, `~`, and literals of lists."""

    def __init__(self) -> None:
        self.comparisons = 0

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.comparisons += len(node.ops)
        self.generic_visit(node)
        for operand in node.ops:
            if operand.op in ("in", "notin") and not isinstance(operand.expr, nodes.List | nodes.Tuple):
                operand.expr = _filtered(operand.expr, _SEARCHED)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        # `is in` searches without being counted.
        self.comparisons += QUICK_COMPARISONS + 1 if node.name == "in" else 1
        self.generic_visit(node)
        return node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        # Keys can be chosen to collide.
        self.comparisons += len(node.items)
        return self._literal(node)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        size = sum(len(data.data) for part in node.body for data in part.find_all(nodes.TemplateData))
        node.iter = _filtered(node.iter, _COUNTED, nodes.Const(1 + size // _CHARS_A_STEP))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        joined: nodes.Node = _filtered(nodes.List(node.nodes), _JOINED)
        return joined

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        is_copy = isinstance(node.arg, nodes.Slice)  # which the environment does not get to see
        copy: nodes.Node = _filtered(node, _LITERAL) if is_copy else node
        return copy

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return self._literal(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        return self._literal(node) if node.ctx == "load" else node

    def _literal(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        literal: nodes.Node = _filtered(node, _LITERAL)
        is_simple = all(isinstance(child, nodes.Const | nodes.Pair) for child in node.iter_child_nodes())
        return node if is_simple and not isinstance(node, nodes.Dict) else literal


def _filtered(node: Any, name: str, *args: nodes.Expr) -> Any:
    return nodes.Filter(node, name, list(args), [], None, None).set_environment(node.environment)


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for one rendering: its budget is spent once."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self, *, is_quick: bool = False) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            autoescape=False,
            cache_size=0,
            finalize=self._written,
        )
        self.is_quick = is_quick
        # Comparisons in what was parsed last.
        self.comparisons = 0
        self._steps = 0
        self._next_look = _STEPS_A_LOOK
        self._ends_s = time.thread_time() + (_QUICK_CPU_S if is_quick else _MAX_CPU_S)
        self.filters = _FILTERS | {
            _COUNTED: self._counted,
            _JOINED: self._joined,
            _LITERAL: self.checked,
            _SEARCHED: self._searched,
        }
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now
        self.globals["range"] = self._range
        self.globals.pop("lipsum", None)
        self.globals.pop("cycler", None)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        meter = _Meter()
        meter.visit(tree)
        self.comparisons = meter.comparisons
        return tree

    def spend(self, steps: int = 1) -> None:
        self._steps += steps
        if self._steps >= self._next_look:
            self._look()

    def _look(self) -> None:
        if self._steps > _MAX_STEPS:
            raise SecurityError("the template takes too many steps")
        if time.thread_time() > self._ends_s:
            if self.is_quick:
                raise NotQuickError
            raise SecurityError("the template takes too long")
        self._next_look = self._steps + _STEPS_A_LOOK

    def keep_quick(self, is_slow: bool) -> None:
        """Raises NotQuickError: something that may take long, in a quick run."""
        if is_slow and self.is_quick:
            raise NotQuickError

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.spend()
        check_numbers(args)
        check_numbers(tuple(kwargs.values()))
        owner, method = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if self.is_quick and isinstance(owner, str | list | tuple | dict | int | float | bytes):
            _check_quick_method(owner, method, args)
        if isinstance(owner, str) and (check := METHOD_CHECKS.get(method)) is not None:
            check(owner, *args, **kwargs)
        elif getattr(getattr(obj, "__wrapped__", None), "__name__", "") in ("format", "format_map"):
            check_format(obj.__wrapped__.__self__, *args, *kwargs.values())
        return self.checked(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.spend()
        if operator == "**":
            raise SecurityError("powers are not available")
        if operator == "*":
            self.keep_quick(not isinstance(left, int | float) or not isinstance(right, int | float))
            check_product(left, right)
        if operator == "%" and isinstance(left, str):
            self.keep_quick(True)
            check_format(left, *(right if isinstance(right, tuple) else (right,)))
        if operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            check_chars(len(left) + len(right))
        return self.checked(super().call_binop(context, operator, left, right))

    def checked(self, value: Any) -> Any:
        """A new value, paid for."""
        if isinstance(value, str):
            self.keep_quick(len(value) > _QUICK_CHARS)
            self.spend(len(value) // _CHARS_A_STEP)
        elif isinstance(value, list | tuple | dict):
            size = written_size(value)
            self.keep_quick(len(value) > _QUICK_PARTS or size > _QUICK_CHARS)
            self.spend(size // _CHARS_A_STEP)
        return value

    def _searched(self, value: Any) -> Any:
        """What `in` looks through."""
        self.spend(1 + (len(value) // _CHARS_A_STEP if isinstance(value, str | list | tuple) else 0))
        return value

    def _written(self, value: Any) -> Any:
        """What an output writes: it may go to a buffer first, where no one else counts it."""
        self.spend(1 + (len(value) if isinstance(value, str) else written_size(value)) // _CHARS_A_STEP)
        return value

    def _joined(self, values: list[Any]) -> str:
        check_chars(sum(map(written_size, values)))
        text = "".join(map(str, values))
        self.spend(1 + len(text) // _CHARS_A_STEP)
        return text

    def _counted(self, iterable: Any, cost: int) -> Iterator[Any]:
        for element in iterable:
            self.spend(cost)
            yield element

    def _range(self, *args: int) -> range:
        numbers = range(*args)
        if len(numbers) > MAX_PARTS:
            raise SecurityError("range too large")
        self.spend(len(numbers))
        return numbers


def _length(value: Any) -> int:
    """The engine that these templates usually run on counts a text in bytes (llama.cpp: common/jinja)."""
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else len(value)


def _check_quick_method(owner: Any, method: str, args: tuple[Any, ...]) -> None:
    """Raises NotQuickError: a method that may take more time than its operands are long."""
    if method not in _QUICK_METHODS:
        raise NotQuickError
    if method.endswith("strip") and args and isinstance(args[0], str) and len(args[0]) > _QUICK_STRIP_CHARS:
        raise NotQuickError


def _guarded(
    function: Callable[..., Any], check: Callable[..., None] | None, *, is_quick: bool
) -> Callable[..., Any]:
    """A filter after its check, and what it returns paid for."""
    wanted = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

    @jinja2.pass_context
    def guarded(context: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_quick:
            context.environment.keep_quick(True)
        if check is not None:
            check(*args, **kwargs)
        if wanted:
            given = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
            args = (given[wanted], *args)
        return context.environment.checked(function(*args, **kwargs))

    return guarded


def _raise_exception(message: Any) -> NoReturn:
    raise TemplateRaisedError(str(message))


def _strftime_now(form: str) -> str:
    if not isinstance(form, str) or len(form) > MAX_FORMAT_CHARS or WIDE.search(form):
        raise SecurityError("the template pads too much")
    return datetime.datetime.now().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Hugging Face templates expect it: nothing escaped for HTML."""
    written_size(value)
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= _MAX_INDENT):
        raise SecurityError("the template pads too much")
    if separators is not None and sum(map(len, separators)) > _MAX_INDENT:
        raise SecurityError("the template pads too much")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


# Made once: the filters of every sandbox.
_FILTERS: dict[str, Callable[..., Any]] = {
    name: _guarded(function, FILTER_CHECKS.get(name), is_quick=name in _QUICK_FILTERS)
    for name, function in {**DEFAULT_FILTERS, "length": _length, "count": _length, "tojson": _to_json}.items()
    if name not in _NO_FILTERS
}
