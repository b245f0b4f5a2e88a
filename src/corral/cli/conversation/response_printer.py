"""Prints a response as it streams: thinking between marks, then the wrapped text; and its timings afterwards."""

from __future__ import annotations

import json
import sys
from typing import Any

from corral.cli.terminal.screen import BOLD_GREY, GREY, RESET, has_colors, safe
from corral.cli.terminal.wrap import WordWrap
from corral.golang.time import format_duration


class ResponsePrinter:
    """Prints one response to stdout. On a terminal, control characters become visible symbols."""

    def __init__(self, *, hides_thinking: bool, wraps: bool, renders_markdown: bool = False) -> None:
        self._hides_thinking = hides_thinking
        self._is_terminal = sys.stdout.isatty()
        self._has_colors = has_colors(sys.stdout)
        self._wrap = WordWrap(sys.stdout, is_on=wraps)
        self._markdown = None
        if renders_markdown and self._is_terminal:
            from corral.cli.terminal.markdown import MarkdownPrinter

            self._markdown = MarkdownPrinter()
        self._is_thinking = False
        self._ends_line = True  # whether the thinking so far ends with a newline
        self.text = ""
        self.thinking = ""

    def show(self, thinking: str, text: str, tool_calls: list[dict[str, Any]] | None = None) -> None:
        if thinking:
            self.thinking += thinking
            if not self._hides_thinking:
                self._think(thinking)
        if tool_calls:
            text += "  " + "\n".join(map(_describe_call, tool_calls))
        if text:
            self._end_thinking()
            self.text += text
            shown = safe(text) if self._is_terminal else text
            if self._markdown is not None:
                self._markdown.feed(shown)
            else:
                self._wrap.write(shown)
        sys.stdout.flush()

    def end(self) -> None:
        """Finish the response, and print an empty line."""
        self._end_thinking()
        if self._markdown is not None:
            self._markdown.finish()
            sys.stdout.write("\n")
        else:
            sys.stdout.write("\n\n")
        sys.stdout.flush()

    def break_off(self) -> None:
        """Stop in the middle: reset the colour and start a new line."""
        if self._markdown is not None:
            self._markdown.finish()
        sys.stdout.write((RESET if self._has_colors else "") + "\n")
        sys.stdout.flush()

    def _think(self, thinking: str) -> None:
        if not self._is_thinking:
            self._is_thinking = True
            bold, grey = (BOLD_GREY, RESET + GREY) if self._has_colors else ("", "")
            sys.stdout.write(f"{bold}Thinking...\n{grey}")
            self._wrap.reset()
        self._ends_line = thinking.endswith("\n")
        self._wrap.write(safe(thinking) if self._is_terminal else thinking)

    def _end_thinking(self) -> None:
        if not self._is_thinking:
            return
        self._is_thinking = False
        gap = "" if self._ends_line else "\n"
        bold, plain = (BOLD_GREY, RESET) if self._has_colors else ("", "")
        sys.stdout.write(f"{gap}{bold}...done thinking.\n\n{plain}")
        self._wrap.reset()


def _describe_call(call: dict[str, Any]) -> str:
    function = call.get("function") or {}
    arguments = json.dumps(function.get("arguments") or {}, ensure_ascii=False, separators=(",", ":"))
    return f"Model called a non-existent function '{function.get('name', '')}()' with arguments: {arguments}"


def print_timings(final: dict[str, Any]) -> None:
    """Print the timings of a response to stderr; unknown and zero values are left out."""

    def line(label: str, value: str) -> None:
        print(f"{label + ':':<21} {value}", file=sys.stderr)

    for key, label in (("total_duration", "total duration"), ("load_duration", "load duration")):
        if final.get(key):
            line(label, format_duration(final[key]))
    for name in ("prompt eval", "eval"):
        stem = name.replace(" ", "_")
        count, duration_ns = final.get(f"{stem}_count") or 0, final.get(f"{stem}_duration") or 0
        if count > 0:
            line(f"{name} count", f"{count} token(s)")
        if duration_ns > 0:
            line(f"{name} duration", format_duration(duration_ns))
            line(f"{name} rate", f"{count / duration_ns * 1e9:.2f} tokens/s")
