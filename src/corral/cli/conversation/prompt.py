"""The line editor of the interactive prompt, on prompt_toolkit: keys, history file, multi-line messages, paste.

Keys and the history file are Ollama's (ollama: readline/). One prompt holds a whole message, so its earlier lines can
still be edited.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

# Otherwise a terminal that does not report its cursor position gets a warning in the middle of the conversation.
os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.bindings.completion import display_completions_like_readline
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput

from corral.cli.terminal.screen import has_colors
from corral.disk import write_atomically

_MAX_ENTRIES = 100
_TAB = " " * 8
_PROMPT, _CONTINUATION = ">>> ", "... "
_GREY = "fg:ansibrightblack"


class HistoryFile(History):
    """The last messages, one per line, in the file that Ollama's prompt uses too.

    A message of several lines becomes several entries, as in Ollama.
    """

    def __init__(self, path: Path, *, keeps: bool) -> None:
        super().__init__()
        self._path = path
        self.keeps = keeps

    def load_history_strings(self) -> Iterable[str]:
        return reversed(self._read())

    def store_string(self, string: str) -> None:
        """Add an entry to the file as it is now: another prompt may have changed it."""
        if not self.keeps or not string.strip():
            return
        entries = [*self._read(), *string.split("\n")]
        text = "".join(f"{entry}\n" for entry in entries[-_MAX_ENTRIES:])
        try:
            write_atomically(self._path, text.encode(), mode=0o600)
        except OSError as error:
            self.keeps = False  # warn once
            print(f"warning: cannot write the history: {error}", file=sys.stderr)

    def _read(self) -> list[str]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [line for line in text.split("\n") if line.strip()][-_MAX_ENTRIES:]


class _Hint(Processor):
    """A grey hint after an empty last line of a message."""

    def __init__(self, hint_for: Callable[[str], str]) -> None:
        self._hint_for = hint_for

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        document, fragments = transformation_input.document, transformation_input.fragments
        is_last = transformation_input.lineno == document.line_count - 1
        if document.text and is_last and not document.lines[-1]:
            fragments = [*fragments, (_GREY, self._hint_for(document.text))]
        return Transformation(fragments)


class MessagePrompt:
    """Reads messages. `is_open` decides whether Enter continues a text instead of sending it."""

    def __init__(
        self, history: HistoryFile, completions: Iterable[str], is_open: Callable[[str], bool]
    ) -> None:
        self._history = history
        self._is_open = is_open
        is_grey = has_colors(sys.stdout)
        self._session: PromptSession[str] = PromptSession(
            _PROMPT,
            multiline=True,
            prompt_continuation=_CONTINUATION,
            history=history,
            key_bindings=self._keys(),
            completer=WordCompleter(list(completions), sentence=True),
            complete_while_typing=False,
            placeholder=_placeholder if is_grey else None,
            input_processors=[_Hint(self._hint)] if is_grey else None,
            enable_suspend=True,
            reserve_space_for_menu=0,
        )

    @property
    def keeps_history(self) -> bool:
        return self._history.keeps

    @keeps_history.setter
    def keeps_history(self, value: bool) -> None:
        self._history.keeps = value

    def read(self) -> str:
        """One message.

        Raises:
            EOFError: Ctrl-D on an empty line.
            KeyboardInterrupt: Ctrl-C; `interrupted_text` is the text at that moment.
        """
        try:
            return self._session.prompt()
        except SystemExit:  # a signal handler left the event loop without the editor's knowledge
            output = self._session.app.output
            output.disable_bracketed_paste()
            output.write("\n")
            output.flush()
            raise

    @property
    def interrupted_text(self) -> str:
        return self._session.default_buffer.text

    def _hint(self, text: str) -> str:
        return 'Type """ to end the message' if self._is_open(text) else "Press Enter to send"

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _enter(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if self._is_open(buffer.text):
                buffer.insert_text("\n")
            else:
                buffer.validate_and_handle()

        @keys.add("c-j")
        @keys.add("escape", "enter")
        def _newline(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("tab", filter=Condition(lambda: self._session.default_buffer.text.startswith("/")))
        def _complete(event: KeyPressEvent) -> None:
            display_completions_like_readline(event)

        @keys.add("tab", filter=Condition(lambda: not self._session.default_buffer.text.startswith("/")))
        def _tab(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(_TAB)

        @keys.add("c-g")
        def _edit(event: KeyPressEvent) -> None:
            buffer = event.current_buffer

            async def edit() -> None:
                text = await run_in_terminal(lambda: _edit_text(buffer.text), in_executor=True)
                buffer.document = Document(text, len(text))

            event.app.create_background_task(edit())

        return keys


def _placeholder() -> FormattedText:
    """The hint in an empty prompt, until it ends."""
    return FormattedText([] if get_app().is_done else [(_GREY, "Send a message (/? for help)")])


def _edit_text(text: str) -> str:
    """A text as edited in the user's editor; unchanged if there is no editor."""
    named = (os.environ.get(name, "").strip() for name in ("OLLAMA_EDITOR", "VISUAL", "EDITOR"))
    command = shlex.split(next(filter(None, named), "vi"))
    if shutil.which(command[0]) is None:
        print(
            f'error: editor "{command[0]}" not found, set OLLAMA_EDITOR to the path of your preferred editor',
            file=sys.stderr,
        )
        return text
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", delete=False) as file:
        file.write(text)
    path = Path(file.name)
    try:
        subprocess.run([*command, file.name], check=False)
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    finally:
        path.unlink(missing_ok=True)
