"""The configuration file as a JSON schema (draft 2020-12), for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.configfile.groups import GROUP_NAME
from corral.configfile.kinds import Kind, kind_of
from corral.configfile.modelsections import (
    ENGINE_KEYS,
    LOAD_OPTIONS,
    MODEL_KEYS,
    OPTION_NAMES,
    REPLICA_KEYS,
    engine_kind,
)
from corral.configfile.sections import MODES
from corral.settingstable import SETTINGS

_SCALAR_OR_LIST: Mapping[str, Any] = {"type": ["integer", "number", "boolean", "string", "array"]}
# `${env:NAME}` may stand in place of any value.
_REFERENCE = {"type": "string", "pattern": r"^\$\{env:[A-Za-z_][A-Za-z0-9_]*\}$"}


def json_schema() -> dict[str, Any]:
    sections: dict[str, dict[str, Any]] = {}
    for setting in SETTINGS:
        section, _, key = setting.path.partition(".")
        value = _value(kind_of(setting.read), setting.meaning)
        sections.setdefault(section, {})[key] = value
    properties: dict[str, Any] = {name: _table(keys) for name, keys in sections.items()}
    properties["models"] = _tables(_model(), "What holds for the models whose names match")
    properties["groups"] = {
        **_tables(_group(), "Which models stay beside each other"),
        "propertyNames": {"pattern": f"^{GROUP_NAME}$"},
    }
    properties["aliases"] = _tables({"type": "string"}, "Further names of models")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration file of corral serve",
        **_table(properties),
    }


def _value(kind: Kind, description: str = "") -> dict[str, Any]:
    value: dict[str, Any] = {"anyOf": [dict(kind.schema), _REFERENCE]}
    if kind.schema.get("type") in ("string", "object"):
        value = dict(kind.schema)
    return {**value, "description": description} if description else value


def _table(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _tables(each: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": dict(each), "description": description}


def _group() -> dict[str, Any]:
    members = {"type": "array", "items": {"type": "string", "pattern": r"\S"}, "minItems": 1}
    return {**_table({"members": members, "mode": {"enum": list(MODES)}}), "required": ["members", "mode"]}


def _model() -> dict[str, Any]:
    keys = {name: _value(kind) for name, kind in MODEL_KEYS.items()}
    keys["set"] = _table(dict.fromkeys(sorted(OPTION_NAMES - {"num_ctx"}), _SCALAR_OR_LIST))
    keys["strip"] = {"type": "array", "items": {"enum": sorted(OPTION_NAMES)}}
    keys["replicas"] = _table({name: dict(kind.schema) for name, kind in REPLICA_KEYS.items()})
    engine = {name: _value(engine_kind(name)) for name in ENGINE_KEYS}
    keys["engine"] = _table({**engine, **dict.fromkeys(sorted(LOAD_OPTIONS), _SCALAR_OR_LIST)})
    return _table(keys)
