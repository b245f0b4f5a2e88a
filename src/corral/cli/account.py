"""`signin` and `signout`, and how a server that asks for an account is answered (ollama: cmd/cmd.go)."""

from __future__ import annotations

from corral.cli.client import APIError, Client
from corral.cli.flags import Arguments

__all__ = ["print_signin_hint", "signin", "signout"]


def signin(client: Client, _arguments: Arguments) -> None:
    try:
        user = client.call("POST", "/api/me", {})
    except APIError as error:
        if error.status != 401 or not error.signin_url:
            raise
        print_signin_hint("You need to be signed in to Ollama to run Cloud models.", error.signin_url)
        return
    print(f"You are already signed in as user '{(user or {}).get('name', '')}'\n")


def signout(client: Client, _arguments: Arguments) -> None:
    try:
        client.call("POST", "/api/signout", {})
    except APIError as error:
        if error.status != 401:
            raise
        print("You are not signed in to ollama.com\n")
        return
    print("You have signed out of ollama.com\n")


def print_signin_hint(text: str, url: str) -> None:
    """Say where to sign in, and open the page where there is a browser."""
    print(f"{text}\n")
    if url:
        _open_browser(url)
        print(f"If your browser did not open, navigate to:\n    {url}\n")


def _open_browser(url: str) -> None:
    import os
    import sys
    import webbrowser

    if not url.startswith("https://"):
        return  # whatever the server says, nothing but a web page is opened
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return  # a text browser in this terminal is not what was meant
    webbrowser.open(url)
