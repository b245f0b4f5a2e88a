"""One line at DEBUG for each run of the engine: how large its prompt is, how it is read, what binds it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from corral import requestfacts
from corral.inference.bindings import Binding
from corral.inference.profile import ModelProfile

_log = logging.getLogger("corral.inference")


def log_run(
    profile: ModelProfile, content: str | Sequence[int], image_count: int, cut_count: int, binding: Binding
) -> None:
    """`content` is the prompt as text or token ids, `cut_count` how much of it was left out to fit the context."""
    if not _log.isEnabledFor(logging.DEBUG):
        return
    _log.debug(
        "run request=%s model=%s prompt_%s=%d images=%d cut=%d chat=%s parser=%s constraint=%s",
        requestfacts.current().request_id,
        profile.model.name.short(),
        "chars" if isinstance(content, str) else "tokens",
        len(content),
        image_count,
        cut_count,
        type(profile.chat).__name__,
        "inferred" if profile.chat.replies.parser is None else profile.chat.replies.parser.name,
        kinds_of(binding),
    )


def kinds_of(binding: Binding) -> str:
    """What binds a reply, in words of the log."""
    kinds = []
    if binding.grammar:
        kinds.append("grammar")
    if binding.format:
        kinds.append("json" if binding.format == '"json"' else "schema")
    if binding.calls:
        kinds.append(f"calls:{binding.calls.replace(' ', '-')}")
    if binding.thinking:
        kinds.append("after-thinking")
    return ",".join(kinds) or "none"
