"""`top`: models, memory, slots, requests and their speed, again and again, with keys to end what runs."""

from __future__ import annotations

import os
import sys
import time

from corral.cli.frame.flags import Arguments, UsageError
from corral.cli.http.client import Client
from corral.cli.terminal.screen import is_terminal, terminal_size, tidy_end
from corral.cli.top.answer import ask
from corral.cli.top.figures import Rates
from corral.cli.top.poller import TIMEOUT_S, Poller
from corral.cli.top.view import frame

# The width of what goes into a pipe or a file.
_WIDE = 1000
_LEAST_S = 0.2


def top(client: Client, arguments: Arguments) -> None:
    """The server must be Corral. Without a terminal, or with `--once`, one look as plain text."""
    every_s = _interval_of(arguments.get("interval", "1"))
    client.timeout_s = TIMEOUT_S
    answer = ask(client)
    if arguments.has("json"):
        from corral.cli.terminal.json_output import print_json

        print_json(answer)
        return
    is_live = is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb"
    if arguments.has("once") or not is_live:
        width = terminal_size(sys.stdout)[0] if is_terminal(sys.stdout) else _WIDE
        look = Rates().look(answer, time.monotonic())
        for line in frame(look, width, address=client.address.url()):
            print(line.text)
        return
    from corral.cli.top.live import Live
    from corral.cli.top.screen import FullScreen

    screen = FullScreen()
    poller = Poller(client, answer, every_s, screen.wake)
    with tidy_end(), screen.shown():
        poller.start()
        Live(poller, screen, client.address.url()).run()


def _interval_of(text: str) -> float:
    """Raises UsageError."""
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not _LEAST_S <= seconds <= 3600:
        raise UsageError(f'invalid argument "{text}" for "--interval" flag: seconds, {_LEAST_S} to 3600')
    return seconds
