"""Messages and tools as the values that a Go template sees: names of types and fields, printing and JSON.

Maps of tools are sorted; the properties of a property keep the order in which the client sent them. Numbers that came
as JSON are floating point, as Go decodes them. Source: ollama: template/template.go, api/types.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from corral.chat.gotemplate.values import GoList, GoMap, GoSequence, GoStruct, Methods, to_json
from corral.chat.toolschema import resolved_parameters
from corral.golang.json import encode
from corral.types import Message, Tool, ToolCall, ToolProperty

_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def json_value(value: Any) -> Any:
    """Turn decoded JSON into what Go decodes it to: every number a float."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    if isinstance(value, Mapping):
        return {key: json_value(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(element) for element in value]
    return value


def typescript_type(item: ToolProperty) -> str:
    """Name the TypeScript type of a property; unions are joined with ` | `."""
    if item.any_of:
        return " | ".join(map(typescript_type, item.any_of))
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in item.types) or "any"


def _as_json(value: Any) -> str:
    return encode(to_json(value)).decode("utf-8")


def _json_or_braces(value: Any) -> str:
    return "{}" if value.is_nil else _as_json(value)


_PRINTS_JSON: Methods = {"String": _as_json}


class _Strings(GoList):
    type_name: ClassVar[str] = "[]string"


class _Images(GoList):
    type_name: ClassVar[str] = "[]api.ImageData"


class _Message(GoStruct):
    __slots__ = ()
    type_name: ClassVar[str] = "*template.templateMessage"
    is_pointer: ClassVar[bool] = True


class _Messages(GoList):
    type_name: ClassVar[str] = "[]*template.templateMessage"


class _ToolCall(GoStruct):
    __slots__ = ()
    type_name: ClassVar[str] = "template.templateToolCall"


class _ToolCalls(GoList):
    type_name: ClassVar[str] = "[]template.templateToolCall"


class _CallFunction(GoStruct):
    __slots__ = ()
    type_name: ClassVar[str] = "template.templateToolCallFunction"


class _Arguments(GoMap):
    type_name: ClassVar[str] = "template.templateArgs"
    methods: ClassVar[Methods] = {"String": _json_or_braces}


class _PropertyType(GoList):
    type_name: ClassVar[str] = "api.PropertyType"
    methods: ClassVar[Methods] = {
        "String": lambda types: types[0] if len(types) == 1 else f"[{' '.join(types)}]" if types else ""
    }

    def json_value(self) -> object:
        return self[0] if len(self) == 1 else list(self)


class _PropertyList(GoList):
    type_name: ClassVar[str] = "[]api.ToolProperty"


class _NestedProperties(GoStruct):
    """`*api.ToolPropertiesMap`: properties in the client's order, or nil."""

    __slots__ = ("properties",)
    type_name: ClassVar[str] = "*api.ToolPropertiesMap"
    is_pointer: ClassVar[bool] = True

    def __init__(self, properties: dict[str, ToolProperty] | None) -> None:
        super().__init__({})
        self.properties = properties

    @property
    def is_nil(self) -> bool:
        return self.properties is None

    def all(self) -> GoSequence:
        return GoSequence(self.pairs, "iter.Seq2[string,github.com/ollama/ollama/api.ToolProperty]")

    def pairs(self) -> Iterable[tuple[str, object]]:
        return ((name, _Property(item)) for name, item in (self.properties or {}).items())

    def json_value(self) -> object:
        if self.properties is None:
            return None
        return {name: _Property(item).json_value() for name, item in self.properties.items()}

    methods: ClassVar[Methods] = {
        "All": all,
        "Len": lambda self: len(self.properties or ()),
        "ToMap": lambda self: _PropertyMap(dict(self.pairs()) if self.properties is not None else None),
    }


class _Property(GoStruct):
    __slots__ = ("sent", "source")
    type_name: ClassVar[str] = "api.ToolProperty"

    def __init__(self, item: ToolProperty, resolved: ToolProperty | None = None) -> None:
        """`resolved`: the same without references; fields are those of it, the JSON is the client's."""
        self.sent = item
        item = self.source = resolved or item
        super().__init__(
            {
                "AnyOf": _PropertyList(map(_Property, item.any_of), is_nil=not item.any_of),
                "Type": _PropertyType(item.types, is_nil=not item.types),
                "Items": json_value(item.items),
                "Description": item.description,
                "Enum": GoList(json_value(item.enum), is_nil=not item.enum),
                "Properties": _NestedProperties(item.properties),
                "Required": _Strings(item.required, is_nil=not item.required),
            }
        )

    def json_value(self) -> object:
        if self.sent is not self.source:
            return _Property(self.sent).json_value()
        known = _without_empty(
            self.fields,
            ("anyOf", "type", "items", "description", "enum", "properties", "required"),
        )
        return known | _plain_json(self.source.others)

    methods: ClassVar[Methods] = {"ToTypeScriptType": lambda self: typescript_type(self.source)}


def _plain_json(members: Mapping[str, Any]) -> dict[str, object]:
    """Members without a field, in the order in which they were sent."""
    return {name: json_value(value) for name, value in members.items()}


def _without_empty(fields: Mapping[str, Any], keys: Sequence[str]) -> dict[str, object]:
    """Members as Go writes them with `omitempty`: no nil, empty text or empty list."""
    return {
        key: to_json(value)
        for key, value in zip(keys, fields.values(), strict=True)
        if value is not None and (value or not isinstance(value, str | GoList | GoStruct))
    }


class _PropertyMap(GoMap):
    type_name: ClassVar[str] = "map[string]api.ToolProperty"
    element_type: ClassVar[str] = "api.ToolProperty"

    def zero(self) -> object:
        return _Property(ToolProperty())


class _Properties(_PropertyMap):
    type_name: ClassVar[str] = "template.templateProperties"
    methods: ClassVar[Methods] = {"String": _json_or_braces}


class _Parameters(GoStruct):
    __slots__ = ("others",)
    type_name: ClassVar[str] = "template.templateToolFunctionParameters"

    def __init__(self, fields: dict[str, object], others: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.others = others

    def json_value(self) -> object:
        fields = self.fields
        return {
            "type": fields["Type"],
            **_without_empty(
                {name: fields[name] for name in ("Defs", "Items", "Required")}, ("$defs", "items", "required")
            ),
            "properties": to_json(fields["Properties"]),
            **_plain_json(self.others),
        }


class _ToolFunction(GoStruct):
    __slots__ = ()
    type_name: ClassVar[str] = "template.templateToolFunction"

    def json_value(self) -> object:
        return {name.lower(): to_json(value) for name, value in self.fields.items()}


class _Tool(GoStruct):
    __slots__ = ()
    type_name: ClassVar[str] = "template.templateTool"
    methods: ClassVar[Methods] = _PRINTS_JSON

    def json_value(self) -> object:
        items = self.fields["Items"]
        return {
            "type": self.fields["Type"],
            **({} if items is None else {"items": to_json(items)}),
            "function": to_json(self.fields["Function"]),
        }


class _Tools(GoList):
    type_name: ClassVar[str] = "template.templateTools"
    methods: ClassVar[Methods] = _PRINTS_JSON


_NO_IMAGES = _Images(is_nil=True)
_NO_TOOL_CALLS = _ToolCalls(is_nil=True)


def _tool_call(call: ToolCall) -> _ToolCall:
    function = _CallFunction(
        {"Index": call.index, "Name": call.name, "Arguments": _Arguments(json_value(call.arguments))}
    )
    return _ToolCall({"ID": call.id, "Function": function})


def template_messages(messages: Iterable[Message]) -> GoList:
    """`.Messages`"""
    return _Messages(
        _Message(
            {
                "Role": message.role,
                "Content": message.content,
                "Thinking": message.thinking,
                "Images": _Images(message.images) if message.images else _NO_IMAGES,
                "ToolCalls": _ToolCalls(map(_tool_call, message.tool_calls))
                if message.tool_calls
                else _NO_TOOL_CALLS,
                "ToolName": message.tool_name,
                "ToolCallID": message.tool_call_id,
            }
        )
        for message in messages
    )


def _tool(tool: Tool) -> _Tool:
    function, parameters = tool.function, tool.function.parameters
    properties = parameters.properties
    resolved = resolved_parameters(parameters).properties or {}
    return _Tool(
        {
            "Type": tool.type,
            "Items": json_value(tool.items),
            "Function": _ToolFunction(
                {
                    "Name": function.name,
                    "Description": function.description,
                    "Parameters": _Parameters(
                        {
                            "Type": parameters.type,
                            "Defs": json_value(parameters.defs),
                            "Items": json_value(parameters.items),
                            "Required": _Strings(parameters.required, is_nil=not parameters.required),
                            "Properties": _Properties(
                                None
                                if properties is None
                                else {
                                    name: _Property(item, resolved.get(name))
                                    for name, item in properties.items()
                                }
                            ),
                        },
                        parameters.others,
                    ),
                }
            ),
        }
    )


def template_tools(tools: Sequence[Tool]) -> GoList:
    """`.Tools`"""
    return _Tools(map(_tool, tools), is_nil=not tools)
