"""A conversation: the model, the messages, the settings, and the requests made from them."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from corral.cli.conversation.attach import extract_files
from corral.cli.conversation.response_printer import ResponsePrinter, print_timings
from corral.cli.conversation.spinner import Spinner
from corral.cli.http.client import Client
from corral.cli.terminal.screen import quiet_keys


@dataclass(slots=True)
class Session:
    """`info` is the answer of show. `loaded_messages` belong to the model; the server adds them by itself."""

    client: Client
    model: str
    info: dict[str, Any]
    options: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    system: str = ""
    wraps: bool = True
    is_verbose: bool = False
    hides_thinking: bool = False
    renders_markdown: bool = False
    has_explicit_think: bool = False

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset(self.info.get("capabilities") or ())

    @property
    def takes_files(self) -> bool:
        return bool({"vision", "audio"} & self.capabilities)

    @property
    def loaded_messages(self) -> list[dict[str, Any]]:
        return self.info.get("messages") or []

    def switch(self, model: str, info: dict[str, Any]) -> None:
        """Continue with another model and an empty conversation."""
        self.model, self.info = model, info
        self.messages.clear()
        if not self.has_explicit_think:
            self.options.pop("think", None)
            if "thinking" in self.capabilities:
                self.options["think"] = True

    def load(self) -> None:
        """Load the model, with a spinner.

        Raises:
            APIError, NoServerError
        """
        if host := self.info.get("remote_host", ""):
            is_cloud = host.startswith("https://ollama.com")
            print(
                f"Connecting to '{self.info.get('remote_model', self.model)}' on "
                + ("'ollama.com' ⚡" if is_cloud else f"'{host}'"),
                file=sys.stderr,
            )
            return
        request: dict[str, Any] = {"model": self.model, "stream": False}
        if "keep_alive" in self.options:
            request["keep_alive"] = self.options["keep_alive"]
        if self.parameters:
            request["options"] = self.parameters
        with Spinner(self.client, self.model):
            self.client.call("POST", "/api/generate", request)

    def replay(self) -> None:
        """Show the messages that come with the model."""
        for message in self.loaded_messages:
            if message["role"] == "user":
                print(f">>> {message['content']}")
            elif message["role"] == "assistant":
                answer = self._printer()
                answer.show("", message["content"])
                answer.end()

    def set_system(self, text: str) -> None:
        """Set the system message for the following messages; one that was not used yet is replaced."""
        self.system = text
        if self.messages and self.messages[-1]["role"] == "system":
            self.messages.pop()
        self.messages.append({"role": "system", "content": text})

    def clear(self) -> None:
        self.messages.clear()
        if self.system:
            self.messages.append({"role": "system", "content": self.system})

    def ask(self, text: str) -> None:
        """Send a message and print the response. Ctrl-C stops the response; its text so far is kept.

        A message that is stopped before its response begins is removed from the conversation.

        Raises:
            APIError, NoServerError: the message is removed from the conversation.
        """
        message: dict[str, Any] = {"role": "user", "content": text}
        if self.takes_files:
            message["content"], images = extract_files(text)
            if images:
                message["images"] = images
        self.messages.append(message)
        request: dict[str, Any] = {"model": self.model, "messages": self.messages, **self.options}
        if self.parameters:
            request["options"] = self.parameters
        answer, final = self._printer(), {}
        try:
            with (
                interruptible(),
                quiet_keys(),
                Spinner(self.client, self.model) as spinner,
                contextlib.closing(self.client.stream("/api/chat", request)) as events,
            ):
                for event in events:
                    spinner.stop()
                    piece = event.get("message") or {}
                    answer.show(piece.get("thinking", ""), piece.get("content", ""), piece.get("tool_calls"))
                    final = event
        except KeyboardInterrupt:
            answer.break_off()
            if not (answer.text or answer.thinking):
                self.messages.pop()
                return
        except BaseException:
            self.messages.pop()
            if answer.text or answer.thinking:
                answer.break_off()
            raise
        else:
            answer.end()
        reply = {"role": "assistant", "content": answer.text}
        if answer.thinking:
            reply["thinking"] = answer.thinking
        self.messages.append(reply)
        if self.is_verbose and final.get("done"):
            print_timings(final)

    def _printer(self) -> ResponsePrinter:
        return ResponsePrinter(
            hides_thinking=self.hides_thinking, wraps=self.wraps, renders_markdown=self.renders_markdown
        )


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt once; further ones do not disturb the clean-up."""
    is_over = False

    def on_interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_over
        if not is_over:
            is_over = True
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        is_over = True
        signal.signal(signal.SIGINT, before)
