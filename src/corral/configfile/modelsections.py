"""Reads the sections for models and aliases, and reports what is wrong in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from corral import settingvalues as values
from corral.configfile import kinds
from corral.configfile.kinds import Kind
from corral.configfile.locate import Keys
from corral.configfile.problems import Reporter, toml_string
from corral.configfile.sections import PLACEMENTS, ModelSection, ReplicaRule, Spread
from corral.settingvalues import UnreadableError
from corral.types import LoadOptions, SamplingOptions

OPTION_NAMES = frozenset(field.name for field in (*fields(LoadOptions), *fields(SamplingOptions)))
LOAD_OPTIONS = frozenset(field.name for field in fields(LoadOptions)) - {"num_ctx"}
_GPU = re.compile(r"gpu([0-9]{1,3})")
_NOT_SET_HERE = {
    "num_ctx": "num_ctx is a key of the section",
    "num_parallel": "num_parallel is a key of the section",
}


@dataclass(frozen=True, slots=True)
class EngineKey:
    """A key of `engine`: the field of the scheduler's settings that it replaces, and how it is read."""

    field: str
    read: Callable[[str], Any]


def _mebibytes(text: str) -> int | None:
    """MiB, from a whole number of them or from a size like `2GiB`."""
    if text.lower() == "auto" or (text.isascii() and text.isdigit()):
        return values.maybe_number(text)
    return values.rate(text) >> 20


_SIZE = Kind((int, str), {"type": ["integer", "string"]}, 'MiB, or a size like "2GiB", or "auto"')
# Beside these, `engine` takes the options that decide how a model is loaded.
ENGINE_KEYS: Mapping[str, EngineKey] = {
    "cache_ram": EngineKey("cache_ram_mib", _mebibytes),
    "kv_cache_type": EngineKey("kv_cache_type", values.kv_cache_type),
    "flash_attention": EngineKey("flash_attention", values.maybe_boolean),
    "fit": EngineKey("fits_memory", values.on_off),
    "fit_target_mib": EngineKey("fit_target_mib", values.number),
}
MODEL_KEYS: Mapping[str, Kind] = {
    "num_ctx": kinds.NUMBER,
    "num_parallel": kinds.NUMBER,
    "keep_alive": kinds.DURATION,
    "device": kinds.STRING,
    "draft": kinds.STRING,
    "aliases": kinds.STRINGS,
    "strip": kinds.STRINGS,
    "set": Kind((dict,), {"type": "object"}, "a table of options"),
    "engine": Kind((dict,), {"type": "object"}, "a table of engine settings"),
    "replicas": Kind((dict,), {"type": "object"}, "a table like { min = 1, max = 3, prewarm = 1 }"),
    "placement": Kind((str,), {"enum": list(PLACEMENTS)}, " or ".join(f'"{name}"' for name in PLACEMENTS)),
}
REPLICA_KEYS: Mapping[str, Kind] = dict.fromkeys(("min", "max", "prewarm"), kinds.NUMBER)


def engine_kind(name: str) -> Kind:
    return _SIZE if name == "cache_ram" else kinds.kind_of(ENGINE_KEYS[name].read)


def _counts(table: Mapping[str, Any]) -> list[int]:
    """The numbers of a table of replicas, for a `max` that it leaves out."""
    return [value for value in table.values() if type(value) is int] or [1]


class SectionReader:
    """Reads the sections of one file; what cannot be used is reported and left out."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def models(self, tables: object) -> list[ModelSection]:
        """Every `[models."..."]`, in the order of the file."""
        return [self._model(pattern, table) for pattern, table in self._tables(("models",), tables)]

    def aliases(self, table: object) -> dict[str, str]:
        """The `[aliases]`, by names in lower case."""
        if not isinstance(table, dict):
            self._reporter.report(("aliases",), "aliases must be a table of names")
            return {}
        found = {}
        for alias, target in table.items():
            if isinstance(target, str) and target:
                found[alias.lower()] = target
            else:
                self._reporter.report(("aliases", alias), "expected the name of a model")
        return found

    def _tables(self, keys: Keys, tables: object) -> list[tuple[str, dict[str, Any]]]:
        if not isinstance(tables, dict):
            self._reporter.report(keys, f"{keys[0]} must be a table of tables")
            return []
        for name, table in tables.items():
            if not isinstance(table, dict):
                self._reporter.report((*keys, name), f'expected a table, [{keys[0]}."{name}"]')
        return [(name, table) for name, table in tables.items() if isinstance(table, dict)]

    def _model(self, pattern: str, table: dict[str, Any]) -> ModelSection:
        keys = ("models", pattern)
        known = self._known(keys, table, MODEL_KEYS)
        defaults = self._options((*keys, "set"), known.get("set", {}))
        engine, load = self._engine((*keys, "engine"), known.get("engine", {}))
        if "num_ctx" in known:
            defaults["num_ctx"] = known["num_ctx"]
        if "device" in known:
            defaults |= self._device((*keys, "device"), known["device"])
        if known.get("num_parallel"):
            engine["num_parallel"] = known["num_parallel"]
        strip = known.get("strip", [])
        for name in [name for name in strip if name not in OPTION_NAMES]:
            self._reporter.report_unknown((*keys, "strip", name), OPTION_NAMES)
        keep_alive = known.get("keep_alive")
        return ModelSection(
            pattern,
            defaults={**load, **defaults},
            strip=frozenset(strip),
            engine=engine,
            keep_alive_ns=None
            if keep_alive is None
            else self._read((*keys, "keep_alive"), values.keep_alive, str(keep_alive)),
            draft=known.get("draft", ""),
            aliases=tuple(known.get("aliases", ())),
            replicas=self._replicas((*keys, "replicas"), known["replicas"]) if "replicas" in known else None,
            placement=self._placement((*keys, "placement"), known.get("placement")),
        )

    def _replicas(self, keys: Keys, table: dict[str, Any]) -> ReplicaRule:
        rule = ReplicaRule(**{"max": max(1, *_counts(table)), **self._known(keys, table, REPLICA_KEYS)})
        if rule.max < max(1, rule.min, rule.prewarm):
            least = "min and prewarm" if rule.max else "1"
            self._reporter.report((*keys, "max"), f"max = {rule.max} must not be less than {least}")
        return rule

    def _placement(self, keys: Keys, text: str | None) -> Spread | None:
        found = next((each for each in PLACEMENTS if each == text), None)
        if text is not None and found is None:
            close = get_close_matches(text.lower(), PLACEMENTS, n=1, cutoff=0.5)
            advice = f"; did you mean {toml_string(close[0])}?" if close else ""
            self._reporter.report(keys, f"placement must be {MODEL_KEYS['placement'].expected}{advice}")
        return found

    def _known(self, keys: Keys, table: dict[str, Any], kinds_of: Mapping[str, Kind]) -> dict[str, Any]:
        """The keys that exist and whose values have the right type."""
        found = {}
        for name, value in table.items():
            if name not in kinds_of:
                self._reporter.report_unknown((*keys, name), kinds_of)
            elif not self._has_kind(value, kinds_of[name]):
                self._reporter.report((*keys, name), f"{name} must be {kinds_of[name].expected}")
            else:
                found[name] = value
        return found

    @staticmethod
    def _has_kind(value: object, kind: Kind) -> bool:
        if kind is kinds.NUMBER and isinstance(value, int) and value < 0:
            return False
        if isinstance(value, dict):
            return dict in kind.types
        try:
            kind.text(value)
        except UnreadableError:
            return False
        return True

    def _options(self, keys: Keys, table: dict[str, Any]) -> dict[str, Any]:
        """Options with known names; their values are checked as those of a model are, when a request comes."""
        found = {}
        for name, value in table.items():
            if name in _NOT_SET_HERE:
                self._reporter.report((*keys, name), _NOT_SET_HERE[name])
            elif name not in OPTION_NAMES:
                self._reporter.report_unknown((*keys, name), OPTION_NAMES)
            else:
                found[name] = value
        return found

    def _device(self, keys: Keys, text: str) -> dict[str, Any]:
        """The options that choose a device."""
        if text == "auto":
            return {}
        if text == "cpu":
            return {"num_gpu": 0}
        if match := _GPU.fullmatch(text):
            return {"main_gpu": int(match[1])}
        self._reporter.report(keys, 'device must be "auto", "cpu", or a GPU like "gpu0"')
        return {}

    def _engine(self, keys: Keys, table: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings of the scheduler, and load options."""
        engine: dict[str, Any] = {}
        load: dict[str, Any] = {}
        for name, value in table.items():
            if name in LOAD_OPTIONS:
                load[name] = value
            elif name not in ENGINE_KEYS:
                self._reporter.report_unknown((*keys, name), {*ENGINE_KEYS, *LOAD_OPTIONS})
            elif not self._has_kind(value, engine_kind(name)):
                self._reporter.report((*keys, name), f"{name} must be {engine_kind(name).expected}")
            else:
                key = ENGINE_KEYS[name]
                engine[key.field] = self._read((*keys, name), key.read, engine_kind(name).text(value))
        return engine, load

    def _read(self, keys: Keys, read: Callable[[str], Any], text: str) -> Any:
        try:
            return read(text)
        except UnreadableError:
            self._reporter.report(keys, f"{keys[-1]} = {text!r} is not valid")
            return None
