"""What a template computes with: Go's values as Python ones.

    Go                        here
    string                    str (bytes that are not UTF-8: see literals.py)
    int, float64, complex128  int, float, complex (whole numbers in float64 stay float)
    bool                      bool
    []byte                    bytes
    []interface {}            list
    map[string]interface {}   dict
    named and struct types    GoList, GoMap, GoStruct subclasses
    nil in an interface       None
    no value at all           NO_VALUE

Nothing here copies or changes the caller's data. Truth is `bool(value)`: false, zero, "", nil and what is empty.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

Methods = Mapping[str, Callable[[Any], object]]


class NoValue:
    """The absence of a value, which prints as `<no value>`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


NO_VALUE = NoValue()


class Uint8(int):
    """A byte taken out of a string or of bytes."""

    __slots__ = ()


class GoStruct:
    """A struct, or a pointer to one. `fields` has the exported fields in the order of declaration."""

    __slots__ = ("fields",)
    type_name: ClassVar[str] = "struct {}"
    is_pointer: ClassVar[bool] = False
    # Callable without arguments. "String" decides how the value prints.
    methods: ClassVar[Methods] = {}

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields

    @property
    def is_nil(self) -> bool:
        """Whether this is a nil pointer."""
        return False

    def __bool__(self) -> bool:
        return not self.is_nil

    def json_value(self) -> object:
        """What is written as JSON: values as in the table above, dicts with their members in order."""
        return {name: to_json(value) for name, value in self.fields.items()}


class GoList(list[Any]):
    """A slice of a named type or of typed elements."""

    type_name: ClassVar[str] = "[]interface {}"
    methods: ClassVar[Methods] = {}
    is_nil = False

    def __init__(self, elements: Iterable[Any] = (), *, is_nil: bool = False) -> None:
        super().__init__(elements)
        self.is_nil = is_nil

    def json_value(self) -> object:
        return None if self.is_nil else [to_json(element) for element in self]


class GoMap(dict[str, Any]):
    """A map of a named type."""

    type_name: ClassVar[str] = "map[string]interface {}"
    element_type: ClassVar[str] = "interface {}"
    methods: ClassVar[Methods] = {}
    is_nil = False

    def __init__(self, members: Mapping[str, Any] | None) -> None:
        super().__init__(members or {})
        self.is_nil = members is None

    def zero(self) -> object:
        """The value of a key that is not there."""
        return None

    def json_value(self) -> object:
        if self.is_nil:
            return None
        return {key: to_json(self[key]) for key in sorted(self, key=_utf8)}


class GoSequence:
    """A function value that `range` can call for pairs of key and value."""

    __slots__ = ("pairs", "type_name")

    def __init__(self, pairs: Callable[[], Iterable[tuple[str, object]]], type_name: str) -> None:
        self.pairs = pairs
        self.type_name = type_name


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_KINDS: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "int",
    float: "float64",
    complex: "complex128",
    Uint8: "uint8",
    type(None): "invalid",
    NoValue: "invalid",
    GoSequence: "func",
}
_TYPES: dict[type, str] = {
    list: "[]interface {}",
    dict: "map[string]interface {}",
    bytes: "[]uint8",
    type(None): "<nil>",
    NoValue: "<nil>",
}


def go_kind(value: object) -> str:
    """Name the reflect.Kind of a value; nil and no value are `invalid`."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    if isinstance(value, GoStruct):
        return "ptr" if value.is_pointer else "struct"
    return "map" if isinstance(value, dict) else "slice"


def go_type(value: object) -> str:
    """Name the type of a value as Go prints it."""
    if isinstance(value, GoStruct | GoList | GoMap | GoSequence):
        return value.type_name
    cls = type(value)
    return _TYPES.get(cls) or _KINDS[cls]


def holds_interfaces(value: object) -> bool:
    """Whether the elements of a list or map do not have a fixed type: they are seen through an interface."""
    if isinstance(value, GoMap):
        return value.element_type == "interface {}"
    return type(value) in (dict, list, GoList)


def is_nil(value: object) -> bool:
    """Whether a value is nil: none at all, or a nil slice, map or pointer."""
    return value is None or value is NO_VALUE or bool(getattr(value, "is_nil", False))


def to_json(value: object) -> object:
    """Turn a value into plain ones for `gowire.encode`: maps sorted, structs in order.

    Raises:
        TypeError: a value that JSON cannot hold.
    """
    if isinstance(value, GoStruct | GoList | GoMap):
        return value.json_value()
    if isinstance(value, dict):
        return {key: to_json(value[key]) for key in sorted(value, key=_utf8)}
    if isinstance(value, list):
        return [to_json(element) for element in value]
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if value is NO_VALUE:
        return None
    if isinstance(value, complex | GoSequence):
        raise TypeError(f"json: unsupported type: {go_type(value)}")
    return value
