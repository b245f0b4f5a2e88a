"""The interactive conversation: messages, slash commands, and Ctrl-C to stop a response."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from corral.cli.conversation.attach import looks_like_file
from corral.cli.conversation.prompt import HistoryFile, MessagePrompt
from corral.cli.conversation.session import Session
from corral.cli.conversation.slash import COMPLETIONS, QUOTE, run_command, unquote
from corral.cli.frame.flags import Arguments
from corral.cli.http.client import APIError, Client, NoServerError, no_server_text
from corral.cli.terminal.screen import safe, tidy_end
from corral.errors import CorralError

_QUOTED = re.compile(r'(?:/set\s+system\s+)?"""')
_FALSE = ("", "0", "f", "F", "false", "FALSE", "False")


def converse(
    client: Client, name: str, info: dict[str, Any], options: dict[str, Any], arguments: Arguments
) -> None:
    """Talk until /bye or Ctrl-D.

    Raises:
        APIError, NoServerError: the model cannot be loaded.
    """
    session = Session(
        client,
        name,
        info,
        options,
        wraps=not arguments.has("nowordwrap"),
        is_verbose=arguments.has("verbose"),
        hides_thinking=arguments.has("hidethinking"),
        renders_markdown=arguments.has("markdown"),
        has_explicit_think="think" in arguments.flags,
    )
    with tidy_end():
        _converse(session)


def _converse(session: Session) -> None:
    session.load()
    session.replay()
    keeps_history = os.environ.get("OLLAMA_NOHISTORY", "").strip() in _FALSE
    history = HistoryFile(Path.home() / ".ollama" / "history", keeps=keeps_history)
    prompt = MessagePrompt(history, COMPLETIONS, is_open)
    while True:
        try:
            text = prompt.read()
        except EOFError:
            return
        except KeyboardInterrupt:
            if not prompt.interrupted_text:
                print("Use Ctrl + d or /bye to exit.")
            continue
        try:
            if not _take(session, prompt, text):
                return
        except KeyboardInterrupt:
            print()
        except (APIError, NoServerError, CorralError, OSError) as error:
            _print_error(error)


def is_open(text: str) -> bool:
    '''Whether a text begins with """ (or `/set system """`) and does not end with it.'''
    match = _QUOTED.match(text)
    return match is not None and not text[match.end() :].endswith(QUOTE)


def _take(session: Session, prompt: MessagePrompt, text: str) -> bool:
    """Handle one message; False ends the conversation."""
    if text.startswith(QUOTE):
        text = unquote(text)
        if text.strip():
            session.ask(text)
        return True
    # Text pasted over several lines is a message, whatever its first line looks like.
    is_command = text.startswith("/") and ("\n" not in text.strip() or bool(_QUOTED.match(text)))
    if is_command and text.startswith(("/bye", "/exit")):
        return False
    if is_command and not (session.takes_files and looks_like_file(text)):
        run_command(session, prompt, text.strip())
    elif text.strip():
        session.ask(text)
    return True


def _print_error(error: Exception) -> None:
    """Print an error; the conversation continues."""
    text, hint = safe(str(error)), safe(getattr(error, "hint", ""))
    if isinstance(error, NoServerError) and not text:
        text = no_server_text()
    if "does not support thinking" in text or "invalid think value" in text:
        print(f"error: {text}")
    elif "upstream error" in text:
        print("An error occurred while processing your message. Please try again.\n")
    else:
        print(f"Error: {text}\n{hint}" if hint else f"Error: {text}", file=sys.stderr)
