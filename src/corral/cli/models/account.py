"""`signin` and `signout`, and what to do when a server asks for an account (ollama: cmd/cmd.go).

The server asks ollama.com who is signed in. An account is only needed to push there, and ollama.com identifies a
machine by its key. If it cannot be asked (no network, an older server), the page that registers the key is printed.
"""

from __future__ import annotations

from corral.cli.frame.flags import Arguments
from corral.cli.http.client import APIError, Client
from corral.cli.terminal.screen import safe

_CANNOT_TELL = (404, 503)  # the server does not support accounts; it cannot reach ollama.com
_CONNECT_URL = "https://ollama.com/connect"
_KEYS_URL = "https://ollama.com/settings/keys"


def signin(client: Client, _arguments: Arguments) -> None:
    try:
        user = client.call("POST", "/api/me", {})
    except APIError as error:
        if error.status in _CANNOT_TELL and client.address.is_loopback:
            print_signin_hint("Register this machine's key to push models to ollama.com.", _connect_url())
        elif error.status == 401 and error.signin_url:
            print_signin_hint("You need to be signed in to Ollama to run Cloud models.", error.signin_url)
        else:
            raise
        return
    print(safe(f"You are already signed in as user '{(user or {}).get('name', '')}'\n"))


def signout(client: Client, _arguments: Arguments) -> None:
    try:
        client.call("POST", "/api/signout", {})
    except APIError as error:
        if error.status == 404:
            raise APIError(
                f"this server does not support sign-out; remove its key at {_KEYS_URL}", 404
            ) from None
        if error.status in (500, 503):
            text = f"{error}: ollama.com could not be reached; remove the key at {_KEYS_URL}"
            raise APIError(text, error.status) from None
        if error.status != 401:
            raise
        print("You are not signed in to ollama.com\n")
        return
    print("You have signed out of ollama.com\n")


def print_signin_hint(text: str, url: str) -> None:
    """Print where to sign in, and open the page if there is a browser."""
    print(f"{text}\n")
    if url:
        _open_browser(url)
        print(safe(f"If your browser did not open, navigate to:\n    {url}\n"))


def _connect_url() -> str:
    """The page that registers this machine's key.

    Raises:
        APIError: there is no key.
    """
    import base64
    import socket
    from pathlib import Path
    from urllib.parse import urlencode

    path = Path.home() / ".ollama" / "id_ed25519.pub"
    try:
        line = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise APIError(f"there is no key at {path}; a server creates one when it starts") from None
    key = base64.urlsafe_b64encode(line.encode()).decode("ascii").rstrip("=")
    return f"{_CONNECT_URL}?{urlencode({'name': socket.gethostname(), 'key': key})}"


def _open_browser(url: str) -> None:
    import os
    import sys
    import webbrowser

    if not url.startswith("https://"):
        return  # never open anything but a web page, whatever the server says
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return  # do not open a text browser in this terminal
    webbrowser.open(url)
