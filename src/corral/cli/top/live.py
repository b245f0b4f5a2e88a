"""The live view: which line is chosen, what keys do, and which part of the frame the screen has room for."""

from __future__ import annotations

import time

from corral.cli.top.cells import fit, plain
from corral.cli.top.poller import Poller, Status
from corral.cli.top.screen import FullScreen
from corral.cli.top.view import Line, choices, frame

_KEYS = "q quit  ↑↓ choose  u unload model  c cancel request"
_SHORT_KEYS = "q quit  u unload  c cancel"
# A look that is older is said to be so.
_OLD_S = 5.0
_TICK_S = 1.0


class Live:
    """Until somebody presses q or Ctrl-C."""

    def __init__(self, poller: Poller, screen: FullScreen, address: str) -> None:
        self._poller = poller
        self._screen = screen
        self._address = address
        self._chosen: tuple[str, str] | None = None
        # What is done after a yes.
        self._asked: tuple[str, str] | None = None
        self._notice = ""
        self._seen_news = ""
        self._top = 0

    def run(self) -> None:
        while True:
            self._draw()
            for key in self._screen.wait(_TICK_S):
                if key == "q" and self._asked is None:
                    return
                self._press(key)

    def _press(self, key: str) -> None:
        if (asked := self._asked) is not None:
            self._asked = None
            if key in ("y", "Y", "enter"):
                self._do(asked)
            return
        self._notice = self._poller.status.news = ""
        match key:
            case "up" | "back":
                self._move(-1)
            case "down" | "next":
                self._move(1)
            case "page up" | "home":
                self._move(-1000)
            case "page down" | "end":
                self._move(1000)
            case "u" | "c":
                self._ask("model" if key == "u" else "request")
            case " " | "r":
                self._poller.look_now()

    def _do(self, asked: tuple[str, str]) -> None:
        kind, name = asked
        if kind == "model":
            self._poller.unload(name)
        else:
            self._poller.cancel(name)

    def _move(self, step: int) -> None:
        known = choices(self._poller.status.look)
        if not known:
            self._chosen = None
        elif self._chosen not in known:
            self._chosen = known[0] if step > 0 else known[-1]
        else:
            place = known.index(self._chosen) + step
            self._chosen = known[min(max(place, 0), len(known) - 1)]

    def _ask(self, kind: str) -> None:
        """Ask for a yes: about what is chosen, or the only one of its kind."""
        known = [choice for choice in choices(self._poller.status.look) if choice[0] == kind]
        if self._chosen in known:
            self._asked = self._chosen
        elif len(known) == 1:
            self._asked = self._chosen = known[0]
        elif known:
            self._chosen = known[0]
            self._notice = f"choose a {kind} with the arrow keys first"
        else:
            self._notice = "no model is loaded" if kind == "model" else "no request is under way"

    def _draw(self) -> None:
        status = self._poller.status
        width, height = self._screen.size
        if self._chosen is not None and self._chosen not in choices(status.look):
            self._chosen = None
        lines = [self._marked(line) for line in frame(status.look, width, address=self._address)]
        self._screen.draw([*self._part(lines, height - 1), self._bottom(status, width)])

    def _marked(self, line: Line) -> Line:
        if line.key is None or line.key != self._chosen:
            return line
        return Line(f"> {line.text[2:]}", "chosen", line.key)

    def _part(self, lines: list[Line], room: int) -> list[Line]:
        """As many lines as there is room for, the chosen one among them."""
        place = next((i for i, line in enumerate(lines) if line.key and line.key == self._chosen), 0)
        if place < self._top:
            self._top = place
        elif place >= self._top + room:
            self._top = place - room + 1
        self._top = max(min(self._top, len(lines) - room), 0) if place else 0
        shown = lines[self._top : self._top + max(room, 0)]
        return shown + [Line("")] * (room - len(shown))

    def _bottom(self, status: Status, width: int) -> Line:
        if self._asked is not None:
            kind, name = self._asked
            what = "Unload" if kind == "model" else "Cancel request"
            return Line(fit(plain(f"{what} {name}? y/n"), width), "bold")
        if status.problem:
            return Line(fit(plain(f"Lost the server, trying again: {status.problem}"), width), "alarm")
        age_s = time.monotonic() - status.looked_s
        if age_s > _OLD_S:
            return Line(fit(f"The server has not answered for {age_s:.0f} s", width), "alarm")
        if text := self._notice or status.news:
            return Line(fit(plain(text), width), "bold")
        return Line(fit(_KEYS if len(_KEYS) <= width else _SHORT_KEYS, width), "dim")
