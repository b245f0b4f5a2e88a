"""The fields of a create request that a Modelfile sets; its files are left as written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corral.modelfile.parameters import parse_parameters
from corral.modelfile.reader import Directive, ModelfileError

_NUMBER = r"(0|[1-9][0-9]*)"
_WORDS = r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_SEMVER = re.compile(rf"v?{_NUMBER}(\.{_NUMBER}(\.{_NUMBER}(-{_WORDS})?(\+{_WORDS})?)?)?")


@dataclass(frozen=True, slots=True)
class ModelfileFields:
    """`request` has fields of a create request. The others are arguments as written: names or paths, in order."""

    request: dict[str, Any]
    sources: tuple[str, ...]
    adapters: tuple[str, ...]
    drafts: tuple[str, ...]
    deprecated: tuple[str, ...]


def fields_of(directives: Sequence[Directive]) -> ModelfileFields:
    """Raises ModelfileError."""
    parameters, deprecated = parse_parameters(directives)
    request: dict[str, Any] = {"parameters": parameters} if parameters else {}
    for directive in directives:
        value = directive.value
        match directive.name:
            case "license":
                request.setdefault("license", []).append(value)
            case "message":
                request.setdefault("messages", []).append({"role": directive.key, "content": value})
            case "requires":
                if not _SEMVER.fullmatch(value):
                    raise ModelfileError("requires must be a valid semver (e.g. 0.14.0)", line=directive.line)
                request["requires"] = value.removeprefix("v")
            case "template" | "system" | "renderer" | "parser":
                request[directive.name] = value
    values = {
        name: tuple(d.value for d in directives if d.name == name) for name in ("from", "adapter", "draft")
    }
    return ModelfileFields(
        request, values["from"], values["adapter"], values["draft"], tuple(dict.fromkeys(deprecated))
    )
