"""Records a session of the command line as an SVG: a real shell, a real server, corral-tiny.

python -m scripts.terminal_recording docs/images/terminal.svg

The shell runs in a pseudo-terminal, and pyte is the screen. Frames are what was on it; pauses are shortened, so that
the speed of this machine does not matter. The SVG is a strip of frames that CSS moves, and shows its last frame to
those who do not want motion.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

COLUMNS, ROWS = 84, 20
SESSION = (
    "corral pull corral-tiny",
    'corral run --think=false corral-tiny "What is the capital of France?"',
    "corral ps",
    "corral events | grep loaded | cut -c 1-80",
)
_LETTER_S, _STEP_S, _PAUSE_S, _END_S = 0.045, 0.18, 1.1, 5.0
_WIDTH, _LINE, _FONT, _PAD, _BAR = 8.43, 19, 14, 14, 30
_COLOURS = {
    "default": "#eee9e2",
    "red": "#f08a7a",
    "green": "#9ed0a6",
    "brown": "#e9b872",
    "blue": "#94c1f2",
    "magenta": "#e59ac8",
    "cyan": "#8fd3d1",
    "black": "#978f84",
    "brightblack": "#978f84",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What was on the screen, and for how long it is shown."""

    lines: tuple[str, ...]
    seconds: float


class Terminal:
    """A shell in a pseudo-terminal."""

    def __init__(self, environment: dict[str, str], folder: str) -> None:
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        pid, self._fd = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile"], environment)
        subprocess.run(["stty", "cols", str(COLUMNS), "rows", str(ROWS)], stdin=self._fd, check=True)
        self.frames: list[Frame] = []

    def type(self, text: str) -> None:
        """Type a command letter by letter; the shell echoes it."""
        for letter in text:
            os.write(self._fd, letter.encode())
            self._read(0.5)
            self._keep(_LETTER_S)
        os.write(self._fd, b"\n")

    def wait_for_prompt(self) -> None:
        """Read what the command prints, a frame for each change, until the prompt is there again."""
        while True:
            if self._read(0.15):
                self._keep(_STEP_S)
            line = self._screen.display[self._screen.cursor.y]
            if self._screen.cursor.x == 2 and line.rstrip() == "$":
                self._keep(_PAUSE_S)
                return

    def _read(self, patience_s: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], patience_s)
        if not ready:
            return False
        self._stream.feed(os.read(self._fd, 65536))
        return True

    def _keep(self, seconds: float) -> None:
        lines = tuple(_drawn(self._screen, row) for row in range(ROWS))
        if self.frames and self.frames[-1].lines == lines:
            last = self.frames[-1]
            self.frames[-1] = Frame(lines, max(last.seconds, seconds))
        else:
            self.frames.append(Frame(lines, seconds))

    def close(self) -> None:
        os.write(self._fd, b"exit\n")
        os.close(self._fd)


def _drawn(screen: pyte.Screen, row: int) -> str:
    """A line as SVG: runs of one colour."""
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    while cells and cells[-1].data == " ":
        cells.pop()
    runs: list[tuple[str, bool, str]] = []
    for cell in cells:
        colour = cell.fg if cell.fg in _COLOURS else "default"
        if runs and runs[-1][:2] == (colour, cell.bold):
            runs[-1] = (colour, cell.bold, runs[-1][2] + cell.data)
        else:
            runs.append((colour, cell.bold, cell.data))
    return "".join(_run(colour, bold, text) for colour, bold, text in runs)


def _run(colour: str, bold: bool, text: str) -> str:
    words = ("" if colour == "default" else f' fill="{_COLOURS[colour]}"') + (
        ' font-weight="700"' if bold else ""
    )
    return f"<tspan{words}>{escape(text)}</tspan>" if words else escape(text)


def draw(frames: list[Frame]) -> str:
    """The SVG. Equal lines are written once and used where they stand."""
    width, height = round(COLUMNS * _WIDTH + 2 * _PAD), ROWS * _LINE + 2 * _PAD + _BAR
    known: dict[str, str] = {}
    for frame in frames:
        for line in frame.lines:
            if line:
                known.setdefault(line, f"l{len(known)}")
    texts = "".join(f'<text id="{name}" xml:space="preserve">{line}</text>\n' for line, name in known.items())
    strip = "".join(_placed(frame, number * height, known) for number, frame in enumerate(frames))
    total = sum(frame.seconds for frame in frames)
    steps, at = [], 0.0
    for number, frame in enumerate(frames):
        steps.append(f"{100 * at / total:.2f}%{{transform:translateY({-number * height}px)}}")
        at += frame.seconds
    last = f"transform:translateY({-(len(frames) - 1) * height}px)"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>A session of corral in a terminal</title>
<style>
text{{font:{_FONT}px ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:{_COLOURS["default"]}}}
#strip{{animation:play {total:.1f}s steps(1) infinite}}
@keyframes play{{{"".join(steps)}}}
@media(prefers-reduced-motion:reduce){{#strip{{animation:none;{last}}}}}
</style>
<defs>
{texts}</defs>
<rect width="{width}" height="{height}" rx="10" fill="#1d1a18" stroke="#35302b"/>
<circle cx="20" cy="18" r="6" fill="#a8491a"/><circle cx="40" cy="18" r="6" fill="#5c554c"/>
<circle cx="60" cy="18" r="6" fill="#5c554c"/>
<svg y="{_BAR}" width="{width}" height="{height - _BAR}"><g id="strip">
{strip}</g></svg>
</svg>
"""


def _placed(frame: Frame, top: int, known: dict[str, str]) -> str:
    uses = "".join(
        f'<use href="#{known[line]}" x="{_PAD}" y="{top + _PAD + (row + 1) * _LINE - 5}"/>'
        for row, line in enumerate(frame.lines)
        if line
    )
    return f"{uses}\n"


def record() -> list[Frame]:
    """Start a server, and the session."""
    folder = tempfile.mkdtemp(prefix="corral-recording-")
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": folder,
        "OLLAMA_MODELS": f"{folder}/models",
        "OLLAMA_HOST": "127.0.0.1:0",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PS1": "$ ",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "corral.cli.main", "serve"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    base = next(line.partition("http://")[2].split()[0] for line in server.stderr if "listening" in line)
    try:
        terminal = Terminal({**environment, "OLLAMA_HOST": base}, folder)
        terminal.wait_for_prompt()
        for command in SESSION:
            terminal.type(command)
            terminal.wait_for_prompt()
        terminal.close()
    finally:
        server.terminate()
        server.stderr.close()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
    frames = terminal.frames
    return [*frames[:-1], Frame(frames[-1].lines, _END_S)]


def main() -> None:
    frames = record()
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(draw(frames), encoding="utf-8")
    print(f"{target}: {len(frames)} frames, {target.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
