"""The values of `think` that a model supports, as `/api/show` reports them.

Ollama has this since 0.34.3, for built-in renderers, gpt-oss and a few templates recognised by digest. Corral
inspects the template.
"""

from __future__ import annotations

from typing import Any

from corral.inference.profile import ModelProfile


def thinking_member(profile: ModelProfile) -> dict[str, Any] | None:
    """The supported values and the default; None if the model does not think."""
    if "thinking" not in profile.capabilities:
        return None
    values, default = profile.chat.think_values()
    return {"values": list(values), "default": default}
