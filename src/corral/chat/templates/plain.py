"""The Go template that stands for having none. Ollama: template/template.go, the default of a model without one."""

from __future__ import annotations

import re

PLAIN_TEMPLATE = "{{ .Prompt }}"
_PLAIN = re.compile(r"\s*\{\{(- )?\s*\.Prompt\s*( -)?\}\}\s*")


def is_plain(template: str) -> bool:
    """Whether a template passes the last prompt on and nothing else.

    Ollama prints it for models without a template, so over weights with a chat template it means that one.
    """
    return _PLAIN.fullmatch(template) is not None
