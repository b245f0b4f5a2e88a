"""`corral run MODEL [PROMPT]`: one streamed response; without a prompt, on a terminal, a conversation."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import Any

from corral.cli.conversation.response_printer import ResponsePrinter, print_timings
from corral.cli.conversation.spinner import Spinner
from corral.cli.frame.flags import PROGRAM, Arguments
from corral.cli.http.client import APIError, Client
from corral.cli.models.account import print_signin_hint
from corral.cli.terminal.screen import is_terminal
from corral.golang.time import parse_duration_ns

# A word without any of these is neither a file path nor a link.
_FILE_MARKS = "./~\\"
_THINK_VALUES = ("true", "false", "high", "medium", "low", "max")


def run(client: Client, arguments: Arguments) -> None:
    name, *words = arguments.words
    options = _options(arguments)
    has_keyboard = is_terminal(sys.stdin)
    if not has_keyboard and (piped := _read_stdin()):
        words.insert(0, piped)
    prompt = " ".join(words)
    if any(mark in name for mark in _FILE_MARKS):
        from corral.cli.models.model_from_file import model_named

        name = model_named(client, name)
    try:
        info = _show_or_pull(client, name, is_insecure=arguments.has("insecure"))
        capabilities = info.get("capabilities") or ()
        if "image" in capabilities:
            raise APIError("image generation models are not currently supported")
        if "embedding" in capabilities and "completion" not in capabilities:
            _embed(client, name, prompt, arguments)
            return
        if "think" not in options and "thinking" in capabilities:
            options["think"] = True
        if has_keyboard and not words and is_terminal(sys.stdout):
            from corral.cli.conversation.interactive import converse

            converse(client, name, info, options, arguments)
        else:
            _answer_once(client, name, prompt, info, options, arguments)
    except APIError as error:
        if error.status != 401 or not error.signin_url:
            raise
        print_signin_hint("You need to be signed in to Ollama to run Cloud models.", error.signin_url)


def _read_stdin() -> str:
    return "" if sys.stdin is None else sys.stdin.buffer.read().decode("utf-8", "replace")


def _options(arguments: Arguments) -> dict[str, Any]:
    """The request members that flags set.

    Raises:
        APIError, InvalidRequestError
    """
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


def _show_or_pull(client: Client, name: str, *, is_insecure: bool) -> dict[str, Any]:
    try:
        info: dict[str, Any] = client.call("POST", "/api/show", {"model": name})
    except APIError as error:
        if error.status != 404:
            raise
        from corral.cli.models.transfer import pull_model

        pull_model(client, {"model": name, "insecure": is_insecure}, verb="run")
        info = client.call("POST", "/api/show", {"model": name})
    return info


def _answer_once(
    client: Client,
    name: str,
    prompt: str,
    info: dict[str, Any],
    options: dict[str, Any],
    arguments: Arguments,
) -> None:
    request = {"model": name, "prompt": prompt, **options}
    if {"vision", "audio"} & set(info.get("capabilities") or ()):
        from corral.cli.conversation.attach import extract_files

        request["prompt"], images = extract_files(prompt)
        if images:
            request["images"] = images
    answer = ResponsePrinter(
        hides_thinking=arguments.has("hidethinking"),
        wraps=not arguments.has("nowordwrap"),
        renders_markdown=arguments.has("markdown"),
    )
    final: dict[str, Any] = {}
    try:
        with Spinner(client, name) as spinner, closing(client.stream("/api/generate", request)) as events:
            for event in events:
                spinner.stop()
                answer.show(event.get("thinking", ""), event.get("response", ""), event.get("tool_calls"))
                final = event
    except KeyboardInterrupt:
        if is_terminal(sys.stdout):
            answer.break_off()
        return
    if prompt:
        answer.end()
    if arguments.has("verbose"):
        print_timings(final)


def _embed(client: Client, name: str, text: str, arguments: Arguments) -> None:
    if not text:
        usage = f'Usage: {PROGRAM} run {name} "your text here"'
        raise APIError(f"embedding models require input text. {usage}")
    body: dict[str, Any] = {"model": name, "input": text}
    if (dimensions := arguments.integer("dimensions")) > 0:
        body["dimensions"] = dimensions
    if "truncate" in arguments.flags:
        body["truncate"] = arguments.has("truncate")
    if keep_alive := arguments.get("keepalive"):
        body["keep_alive"] = keep_alive
    with Spinner(client, name):
        embeddings = client.call("POST", "/api/embed", body).get("embeddings")
    if not embeddings:
        raise APIError("no embeddings returned")
    from corral.golang.json import encode

    print(encode(embeddings[0]).decode())
