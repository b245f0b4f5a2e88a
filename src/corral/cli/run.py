"""`corral run MODEL [PROMPT]`: one answer, streamed; without a prompt on a terminal a conversation."""

from __future__ import annotations

import json
import sys
from typing import Any

from corral.cli.client import APIError, Client
from corral.cli.flags import PROGRAM, Arguments
from corral.cli.progress import Progress, show_events
from corral.cli.wrap import WordWrap
from corral.gotime import format_duration, parse_duration_ns

__all__ = ["Answer", "print_timings", "run"]

_THINK_VALUES = ("true", "false", "high", "medium", "low", "max")


def run(client: Client, arguments: Arguments) -> None:
    name = arguments.words[0]
    options = _options(arguments)
    words = arguments.words[1:]
    if not sys.stdin.isatty():
        piped = sys.stdin.read()
        words = [piped, *words] if piped else words
    info = _show_or_pull(client, name)
    capabilities = info.get("capabilities") or ()
    prompt = " ".join(words)
    if "image" in capabilities:
        raise APIError("image generation models are not currently supported")
    if "embedding" in capabilities and "completion" not in capabilities:
        _embed(client, name, prompt, arguments)
        return
    if "think" not in options and "thinking" in capabilities:
        options["think"] = True
    if not words and sys.stdin.isatty() and sys.stdout.isatty():
        from corral.cli.interactive import converse

        converse(client, name, options, arguments)
        return
    answer = Answer(hides_thinking=arguments.has("hidethinking"), wraps=not arguments.has("nowordwrap"))
    final: dict[str, Any] = {}
    request = {"model": name, "prompt": prompt, **options}
    try:
        for event in client.stream("/api/generate", request):
            answer.show(event.get("thinking", ""), event.get("response", ""))
            final = event
    except KeyboardInterrupt:
        print()
        return
    if prompt:
        answer.end()
    if arguments.has("verbose"):
        print_timings(final)


def _options(arguments: Arguments) -> dict[str, Any]:
    """Request members that flags stand for. Raises APIError, InvalidRequestError."""
    options: dict[str, Any] = {}
    if think := arguments.get("think"):
        if think not in _THINK_VALUES:
            raise APIError(
                f'invalid value for --think: "{think}" (must be true, false, high, medium, low, or max)'
            )
        options["think"] = think == "true" if think in ("true", "false") else think
    if keep_alive := arguments.get("keepalive"):
        parse_duration_ns(keep_alive)
        options["keep_alive"] = keep_alive
    if wanted := arguments.get("format"):
        try:
            options["format"] = "json" if wanted == "json" else json.loads(wanted)
        except ValueError as exc:
            raise APIError(f"--format is neither json nor a JSON schema: {exc}") from None
    return options


def _show_or_pull(client: Client, name: str) -> dict[str, Any]:
    for is_pulled in (False, True):
        try:
            info: dict[str, Any] = client.call("POST", "/api/show", {"model": name})
        except APIError as error:
            if error.status != 404 or is_pulled:
                raise
            with Progress() as progress:
                show_events(progress, client.stream("/api/pull", {"model": name}))
        else:
            return info
    raise AssertionError("unreachable")


def _embed(client: Client, name: str, text: str, arguments: Arguments) -> None:
    if not text:
        usage = f'Usage: {PROGRAM} run {name} "your text here"'
        raise APIError(f"embedding models require input text. {usage}")
    body: dict[str, Any] = {"model": name, "input": text}
    if int(arguments.get("dimensions", "0"), 0) > 0:
        body["dimensions"] = int(arguments.get("dimensions"), 0)
    if "truncate" in arguments.flags:
        body["truncate"] = arguments.has("truncate")
    if keep_alive := arguments.get("keepalive"):
        body["keep_alive"] = keep_alive
    embeddings = client.call("POST", "/api/embed", body)["embeddings"]
    if not embeddings:
        raise APIError("no embeddings returned")
    print(json.dumps(embeddings[0], separators=(",", ":")))


class Answer:
    """Prints an answer as it comes: thinking between its marks, then the text, wrapped."""

    def __init__(self, *, hides_thinking: bool, wraps: bool) -> None:
        self._hides_thinking = hides_thinking
        self._wrap = WordWrap(sys.stdout, is_on=wraps)
        self._is_terminal = sys.stdout.isatty()
        self._is_thinking = False
        self._last_thought = ""
        self.text = ""
        self.thinking = ""

    def show(self, thinking: str, text: str) -> None:
        if thinking:
            self.thinking += thinking
            if not self._hides_thinking:
                self._think(thinking)
        if text:
            self._end_thinking()
            self.text += text
            self._wrap.write(text)
        sys.stdout.flush()

    def end(self) -> None:
        self._end_thinking()
        sys.stdout.write("\n\n")
        sys.stdout.flush()

    def _think(self, thinking: str) -> None:
        if not self._is_thinking:
            self._is_thinking = True
            bold, plain = (
                ("\x1b[38;5;245m\x1b[1m", "\x1b[0m\x1b[38;5;245m") if self._is_terminal else ("", "")
            )
            sys.stdout.write(f"{bold}Thinking...\n{plain}")
        self._last_thought = thinking
        self._wrap.write(thinking)

    def _end_thinking(self) -> None:
        if not self._is_thinking:
            return
        self._is_thinking = False
        gap = "" if self._last_thought.endswith("\n") else "\n"
        bold, plain = ("\x1b[38;5;245m\x1b[1m", "\x1b[0m") if self._is_terminal else ("", "")
        sys.stdout.write(f"{gap}{bold}...done thinking.\n\n{plain}")
        self._wrap.reset()


def print_timings(final: dict[str, Any]) -> None:
    """The figures of an answer on stderr; what is unknown or zero is left out."""

    def line(label: str, value: str) -> None:
        print(f"{label + ':':<21} {value}", file=sys.stderr)

    def rate(count_key: str, duration_key: str) -> str:
        return f"{final[count_key] / final[duration_key] * 1e9:.2f} tokens/s"

    for key, label in (("total_duration", "total duration"), ("load_duration", "load duration")):
        if final.get(key):
            line(label, format_duration(final[key]))
    for name in ("prompt eval", "eval"):
        stem = name.replace(" ", "_")
        count, duration = f"{stem}_count", f"{stem}_duration"
        if final.get(count):
            line(f"{name} count", f"{final[count]} token(s)")
        if final.get(duration):
            line(f"{name} duration", format_duration(final[duration]))
            line(f"{name} rate", rate(count, duration) if final.get(count) else "0.00 tokens/s")
