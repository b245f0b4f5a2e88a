"""Jinja for templates of strangers: a sandbox with bounds on steps, time, and the size of every value.

Jinja's sandbox keeps a template from Python's insides. It does not keep it from writing a terabyte or running for
a year, so here every operation that can make more than it is given says beforehand how much that will be, and all
of them spend from one budget. Invariant: no value, written out, is larger than `_MAX_CHARS`, or has more parts than
`_MAX_PARTS`.
"""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS as DEFAULT_FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from corral.errors import TemplateError

__all__ = ["Sandbox", "TemplateRaisedError"]

_MAX_STEPS = 2_000_000
_MAX_CPU_S = 1.0
_MAX_CHARS = 8 << 20
_MAX_PARTS = 200_000
_MAX_NUMBER = 1 << 20  # of a width, a count, an index
_MAX_BITS = 4096  # of an integer
_MAX_FORMAT_CHARS = 4096
_MAX_INDENT = 64
_CHARS_A_STEP = 64
_COUNTED, _JOINED, _LITERAL = "corral_counted", "corral_joined", "corral_literal"
# Filters that no chat template needs and whose cost is hard to tell.
_NO_FILTERS = ("urlize", "pprint", "xmlattr", "striptags", "random", "filesizeformat", "wordwrap")
_WIDE = re.compile(r"\d{4}|\*")


class TemplateRaisedError(TemplateError):
    """The template itself refused the conversation (`raise_exception`)."""


class _Generation(Extension):
    """`{% generation %}` marks assistant text for training; for prompts its body stands for itself."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


class _Meter(NodeTransformer):
    """Puts filters that count around what the sandbox does not intercept: loops, `~`, and literals of lists."""

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

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return self._literal(node)

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

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            autoescape=False,
            cache_size=0,
            finalize=self._written,
        )
        self._steps = 0
        self._started_s = time.thread_time()
        self.filters = _FILTERS | {_COUNTED: self._counted, _JOINED: self._joined, _LITERAL: self.checked}
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now
        self.globals["range"] = self._range
        self.globals.pop("lipsum", None)
        self.globals.pop("cycler", None)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Meter().visit(tree)
        return tree

    def spend(self, steps: int = 1) -> None:
        self._steps += steps
        if self._steps > _MAX_STEPS:
            raise SecurityError("the template takes too many steps")
        if time.thread_time() - self._started_s > _MAX_CPU_S:
            raise SecurityError("the template takes too long")

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.spend()
        _check_numbers(args)
        _check_numbers(tuple(kwargs.values()))
        owner, method = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and (check := _METHOD_CHECKS.get(method)) is not None:
            check(owner, *args, **kwargs)
        elif getattr(getattr(obj, "__wrapped__", None), "__name__", "") in ("format", "format_map"):
            _check_format(obj.__wrapped__.__self__, *args, *kwargs.values())
        return self.checked(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.spend()
        if operator == "**":
            raise SecurityError("powers are not available")
        if operator == "*":
            _check_product(left, right)
        if operator == "%" and isinstance(left, str):
            _check_format(left, *(right if isinstance(right, tuple) else (right,)))
        if operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            _check_chars(len(left) + len(right))
        return self.checked(super().call_binop(context, operator, left, right))

    def checked(self, value: Any) -> Any:
        """A new value, paid for."""
        if isinstance(value, str):
            self.spend(len(value) // _CHARS_A_STEP)
        elif isinstance(value, list | tuple | dict):
            self.spend(_size(value) // _CHARS_A_STEP)
        return value

    def _written(self, value: Any) -> Any:
        """What an output writes: it may go to a buffer first, where no one else counts it."""
        self.spend(1 + (len(value) if isinstance(value, str) else _size(value)) // _CHARS_A_STEP)
        return value

    def _joined(self, values: list[Any]) -> str:
        _check_chars(sum(map(_size, values)))
        text = "".join(map(str, values))
        self.spend(1 + len(text) // _CHARS_A_STEP)
        return text

    def _counted(self, iterable: Any, cost: int) -> Iterator[Any]:
        for element in iterable:
            self.spend(cost)
            yield element

    def _range(self, *args: int) -> range:
        numbers = range(*args)
        if len(numbers) > _MAX_PARTS:
            raise SecurityError("range too large")
        self.spend(len(numbers))
        return numbers


def _length(value: Any) -> int:
    """The engine that these templates usually run on counts a text in bytes (llama.cpp: common/jinja)."""
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else len(value)


def _size(value: Any) -> int:
    """About how many characters a value has, written out; shared parts count each time they are written.

    Raises:
        SecurityError: more than there may be.
    """
    if isinstance(value, str):
        return len(value)
    size = parts = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        parts += 1
        if isinstance(item, str):
            size += len(item) + 4
        elif isinstance(item, list | tuple):
            parts += len(item)
            waiting += item
        elif isinstance(item, Mapping):
            parts += len(item)
            waiting += item.keys()
            waiting += item.values()
        else:
            size += 8
        if parts > _MAX_PARTS or size > _MAX_CHARS:
            raise SecurityError("a value in the template is too large")
    return size + 2 * parts


def _check_chars(size: int) -> None:
    if size > _MAX_CHARS:
        raise SecurityError("a text in the template is too large")


def _check_numbers(values: tuple[Any, ...]) -> None:
    """Arguments like a width of a billion make one call as costly as a billion."""
    if any(isinstance(value, int) and abs(value) > _MAX_NUMBER for value in values):
        raise SecurityError("an argument in the template is too large")


def _check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > _MAX_BITS:
            raise SecurityError("a number in the template is too large")
        return
    sized, count = (left, right) if isinstance(left, str | list | tuple) else (right, left)
    if isinstance(sized, str | list | tuple) and isinstance(count, int) and count > 0:
        unit = len(sized) if isinstance(sized, str) else max(_size(sized), 1)
        if unit * count > _MAX_CHARS:
            raise SecurityError("the template repeats too much")


def _check_format(form: str, *values: Any) -> None:
    """`%` and `format`: a width makes a short text long, and a long one repeats its values."""
    if len(form) > _MAX_FORMAT_CHARS or _WIDE.search(form):
        raise SecurityError("the template pads too much")
    if any(isinstance(value, int) and abs(value) > 10_000 and "{}" in form for value in values):
        raise SecurityError("the template pads too much")
    fields = form.count("%") + form.count("{")
    _check_chars((fields + 1) * sum(map(_size, values)))


def _check_replace(text: Any, old: Any, new: Any, count: Any = None, **_: Any) -> None:
    text, old, new = str(text), str(old), str(new)
    found = text.count(old) if old else len(text) + 1
    if isinstance(count, int) and count >= 0:
        found = min(found, count)
    _check_chars(len(text) + found * max(len(new) - len(old), 0))


def _check_join(separator: str, values: Any) -> None:
    count = len(values) if hasattr(values, "__len__") else _MAX_PARTS
    _check_chars(len(separator) * count + (_size(values) if isinstance(values, list | tuple) else 0))


def _check_join_filter(values: Any, d: Any = "", attribute: Any = None) -> None:
    _check_join(str(d), values)


def _check_tabs(text: str, tabsize: Any = 8) -> None:
    _check_chars(len(text) + text.count("\t") * (tabsize if isinstance(tabsize, int) else 8))


def _check_indent(text: Any, width: Any = 4, first: Any = False, blank: Any = False) -> None:
    indent = len(width) if isinstance(width, str) else width
    if not isinstance(indent, int) or indent > _MAX_NUMBER:
        raise SecurityError("the template pads too much")
    _check_chars(len(str(text)) + (str(text).count("\n") + 1) * indent)


def _check_any(value: Any, *args: Any, **kwargs: Any) -> None:
    _size(value)
    _check_numbers((*args, *kwargs.values()))


def _check_printf(value: Any, *args: Any, **kwargs: Any) -> None:
    _check_format(str(value), *args, *kwargs.values())


def _check_translate(text: str, *_: Any) -> None:
    raise SecurityError("translate is not available")


def _check_split(text: str, separator: Any = None, *_: Any, **__: Any) -> None:
    found = text.count(separator) if separator else sum(map(text.count, " \n\t\r"))
    if found > _MAX_PARTS:
        raise SecurityError("a value in the template is too large")


def _check_list(value: Any) -> None:
    if isinstance(value, str) and len(value) > _MAX_PARTS:
        raise SecurityError("a value in the template is too large")


def _check_sum(_values: Any, attribute: Any = None, start: Any = 0) -> None:
    if not isinstance(start, int | float):
        raise SecurityError("only numbers can be summed up")


_METHOD_CHECKS: dict[str, Callable[..., None]] = {
    "replace": _check_replace,
    "join": _check_join,
    "expandtabs": _check_tabs,
    "translate": _check_translate,
    "split": _check_split,
    "rsplit": _check_split,
    "splitlines": _check_split,
}
_FILTER_CHECKS: dict[str, Callable[..., None]] = {
    "replace": _check_replace,
    "join": _check_join_filter,
    "indent": _check_indent,
    "format": _check_printf,
    "list": _check_list,
    "sum": _check_sum,
    **dict.fromkeys(("center", "batch", "slice", "round", "string", "escape", "e"), _check_any),
}


def _guarded(function: Callable[..., Any], check: Callable[..., None] | None) -> Callable[..., Any]:
    """A filter behind its check, and what it returns paid for."""
    wanted = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

    @jinja2.pass_context
    def guarded(context: Any, *args: Any, **kwargs: Any) -> Any:
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
    if not isinstance(form, str) or len(form) > _MAX_FORMAT_CHARS or _WIDE.search(form):
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
    _size(value)
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= _MAX_INDENT):
        raise SecurityError("the template pads too much")
    if separators is not None and sum(map(len, separators)) > _MAX_INDENT:
        raise SecurityError("the template pads too much")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


# Made once: the filters of every sandbox.
_FILTERS: dict[str, Callable[..., Any]] = {
    name: _guarded(function, _FILTER_CHECKS.get(name))
    for name, function in {**DEFAULT_FILTERS, "length": _length, "count": _length, "tojson": _to_json}.items()
    if name not in _NO_FILTERS
}
