"""Pulls from and pushes to a registry, with progress bars."""

from __future__ import annotations

import sys
from contextlib import closing

from corral.cli.frame.flags import PROGRAM, Arguments
from corral.cli.http.client import APIError, Client, NoServerError
from corral.cli.models.account import print_signin_hint
from corral.cli.terminal.progress import Progress, show_events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOT_IN_REGISTRY = "pull model manifest: file does not exist"
_ACCOUNT_HOSTS = (".ollama.ai", ".ollama.com")


def pull_model(client: Client, body: dict[str, Any], *, verb: str = "pull") -> None:
    """Pull with progress bars; `verb` is the command that was typed, for advice.

    Raises:
        APIError, NoServerError
    """
    try:
        with Progress() as progress, closing(client.stream("/api/pull", body)) as events:
            show_events(progress, events)
    except KeyboardInterrupt:
        print(
            f"stopped; the partial download is kept, `{PROGRAM} pull {body['model']}` resumes it",
            file=sys.stderr,
        )
        raise
    except APIError as error:
        if advice := _cloud_advice(client, body, str(error), verb):
            raise APIError(f"{error}\n\n{advice}", error.status) from None
        raise


def _cloud_advice(client: Client, body: dict[str, Any], error: str, verb: str) -> str:
    """A hint for a name that exists only as a cloud model (ollama: cmd/cmd.go)."""
    name = body["model"]
    is_plain = not body.get("insecure") and ":" not in name and name.count("/") < 2
    if error != NOT_IN_REGISTRY or not is_plain:
        return ""
    try:
        client.call("POST", "/api/show", {"model": f"{name}:cloud"})
    except (APIError, NoServerError):
        return ""
    return f'"{name}:cloud" is available as a cloud model. Try:\n  {PROGRAM} {verb} {name}:cloud'


def push(client: Client, arguments: Arguments) -> None:
    name = arguments.words[0]
    destination, needs_account = _destination(name)
    if needs_account and not _is_signed_in(client):
        return
    body = {"model": name, "insecure": arguments.has("insecure")}
    try:
        with Progress() as progress, closing(client.stream("/api/push", body)) as events:
            show_events(progress, events)
    except APIError as error:
        if "access denied" in str(error) or "unauthorized" in str(error):
            raise APIError(
                "you are not authorized to push to this namespace, create the model under a namespace you own"
            ) from None
        raise
    print(f"\nYou can find your model at:\n\n\t{destination}")


def _destination(text: str) -> tuple[str, bool]:
    """Where a pushed model can be found, and whether its host requires an account.

    An invalid name is left for the server to refuse.
    """
    from corral.errors import CorralError
    from corral.names import ModelName

    try:
        name = ModelName.parse(text)
    except CorralError:
        return text, False
    if name.host.endswith(_ACCOUNT_HOSTS):
        return f"https://ollama.com/{name.short().removesuffix(':latest')}", True
    return name.full(), False


def _is_signed_in(client: Client) -> bool:
    """Whether an account is signed in; if not, prints how to sign in."""
    try:
        client.call("POST", "/api/me", {})
    except APIError as error:
        if error.status == 401:
            text = "You need to be signed in to push models to ollama.com."
            print_signin_hint(text, error.signin_url)
            return False
        # The server cannot find out; the registry will.
    return True
