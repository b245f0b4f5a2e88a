"""Why an engine ended, from what it wrote to stderr: the lines that say something, without paths of this machine."""

from __future__ import annotations

import re

# Time, level, and the name of the engine's part before its words.
PREFIX = re.compile(r"^\d+\.\d+\.\d+\.\d+ [A-Z] +(?:(?:cmn|srv|slot|que|res|cli) +)?")
# Lines that only inform; the engine writes them where its load is reported.
_QUIET = re.compile(r"^\d+\.\d+\.\d+\.\d+ [IDT] ")
_FUNCTION = re.compile(r"^[a-z_][a-z0-9_]*: ")
_SOURCE_PLACE = re.compile(r"^\S+\.(?:cpp|h|c|cu|m|mm|hpp):\d+: ")
_QUOTED_PATH = re.compile(r"(['\"])/[^'\"\n]*?([^/'\"\n]*)\1")
_PATH = re.compile(r"(?<![\w.<>])/(?:[^\s'\"/:,]+/)+([^\s'\"/:,]*)")
# They come with every failure, or repeat what another line says better.
_HOLLOW = re.compile(
    r"failed to load model$|failed to load (?:draft )?model,? |failed to create_?\s?context with model"
    r"|exiting due to|failed to init server|trying to fit params|failed to load model from \S+$"
    r"|failed to load (?:lora adapter|multimodal model),? '|failed to get memory usage|^load failed: "
    r"|^terminate called",
    re.IGNORECASE,
)
_TELLING = re.compile(
    r"error|fail|assert|abort|insufficient|unable|unknown|invalid|unsupported|missing", re.IGNORECASE
)
_PART = re.compile(r"adapter|multimodal|clip|draft model", re.IGNORECASE)
_MAX_LINES = 3
_MAX_CHARS = 1000


def load_reason(log: str) -> str:
    """Why a model was not loaded: up to three different lines, the cause before its consequences."""
    lines = list(dict.fromkeys(line for line in map(_clean, telling_lines(log)) if line))
    found = [line for line in lines if not _HOLLOW.search(line)][:_MAX_LINES]
    # The line that reports the failure names the part: an adapter, a projector, a draft model.
    found += [line for line in lines if _PART.search(line) and line not in found][: _MAX_LINES - len(found)]
    return "; ".join(found or lines[:1])[:_MAX_CHARS] or "the engine said nothing"


def last_error(log: str) -> str:
    """The last line that says that something went wrong; empty if there is none."""
    for line in reversed(telling_lines(log)):
        if _TELLING.search(line):
            return _clean(line)[:_MAX_CHARS]
    return ""


def telling_lines(log: str) -> list[str]:
    """The lines that are warnings or errors, or come from elsewhere than the engine's own log."""
    return [line for line in log.splitlines() if not _QUIET.match(line)]


def _clean(line: str) -> str:
    text = PREFIX.sub("", line.strip())
    text = _FUNCTION.sub("", text)
    text = _SOURCE_PLACE.sub("", text)
    text = _QUOTED_PATH.sub(r"\1\2\1", text)
    return _PATH.sub(r"\1", text).strip()
