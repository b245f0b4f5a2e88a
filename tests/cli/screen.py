"""The command line on a terminal of its own: a pseudo terminal and an emulator that knows what a person would see."""

from __future__ import annotations

import signal
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pexpect
import pyte

from tests.waiting import PATIENCE_S

HINT = "Send a message (/? for help)"


class Screen:
    """A running command. `wait_for` reads until the screen shows something; keys go in with `type`."""

    def __init__(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
        cwd: Path | None = None,
        no_color: str = "",
    ) -> None:
        self.raw = ""
        self._typed_at = 0
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        self._process = pexpect.spawn(
            sys.executable,
            ["-m", "corral.cli.main", *words],
            env={**env, "TERM": "xterm-256color", "NO_COLOR": no_color},
            cwd=str(cwd) if cwd else None,
            dimensions=(lines, columns),
            encoding="utf-8",
            codec_errors="replace",
            preexec_fn=_take_interrupts,
        )
        self._process.delaybeforesend = None

    @property
    def lines(self) -> list[str]:
        """What each line of the screen shows, without the blanks at its end."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    def color_of(self, text: str) -> str:
        """Foreground colour of the first place where a text stands."""
        for number, line in enumerate(self._screen.display):
            if (column := line.find(text)) >= 0:
                return str(self._screen.buffer[number][column].fg)
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    def type(self, keys: str) -> None:
        self._typed_at = len(self.raw)
        self._process.send(keys)

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed by itself."""
        return bool(termios.tcgetattr(self._process.child_fd)[3] & termios.ECHO)

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        self._process.setwinsize(lines, columns)

    def terminate(self) -> None:
        self._process.kill(signal.SIGTERM)

    def enter(self, text: str) -> None:
        self.type(text + "\r")

    def wait_for(self, wanted: str | Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Read until the screen has a text, or a condition holds."""
        deadline_s = time.monotonic() + timeout_s
        while not (wanted in self.text if isinstance(wanted, str) else wanted()):
            assert time.monotonic() < deadline_s, f"no {wanted!r} on the screen:\n{self.text}"
            if not self._read():
                assert wanted in self.text if isinstance(wanted, str) else wanted(), (
                    f"ended without {wanted!r}:\n{self.text}"
                )
                return

    def wait_for_prompt(self) -> None:
        """Until the prompt waits for a message: its hint was drawn since the last key, and is what stands last."""
        self.wait_for(lambda: HINT in self.raw[self._typed_at :] and self.text.endswith(f">>> {HINT}"))

    def wait_for_end(self) -> int:
        """The exit status."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline_s, f"does not end:\n{self.text}"
        self._process.wait()
        return int(self._process.exitstatus if self._process.exitstatus is not None else -1)

    def _read(self) -> bool:
        """Take in what has been printed; False at the end."""
        try:
            data = self._process.read_nonblocking(1 << 16, timeout=0.2)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def close(self) -> None:
        self._process.close(force=True)


def _take_interrupts() -> None:
    """Tests that a shell started in the background inherit that Ctrl-C is ignored; on a terminal it never is."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
