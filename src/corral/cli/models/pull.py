"""`pull`: one model, or one after another all that were pulled before, with a summary at the end."""

from __future__ import annotations

import sys

from corral.cli.frame.flags import PROGRAM, Arguments, UsageError
from corral.cli.http.client import APIError, Client
from corral.cli.models.transfer import NOT_IN_REGISTRY, pull_model
from corral.cli.terminal.screen import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pull(client: Client, arguments: Arguments) -> int:
    """Raises UsageError, APIError, NoServerError."""
    body: dict[str, Any] = {"insecure": arguments.has("insecure")}
    if limit := arguments.get("limit-rate"):
        body["rate_limit"] = _rate(limit)
    if arguments.has("all"):
        return _pull_all(client, body)
    from corral.cli.models.model_from_file import advice_about
    from corral.cli.models.weblinks import name_of_link

    name = arguments.words[0]
    if advice := advice_about(name):
        raise APIError(f"only models from a registry can be pulled: {advice}")
    pull_model(client, {"model": name_of_link(name), **body})
    return 0


def _rate(text: str) -> int:
    from corral.errors import InvalidRequestError
    from corral.rate import parse_rate

    try:
        return parse_rate(text)
    except InvalidRequestError:
        raise UsageError(
            f'invalid argument "{text}" for "--limit-rate" flag: give bytes per second, like 500K or 20M'
        ) from None


def _pull_all(client: Client, body: dict[str, Any]) -> int:
    """Update the models; the exit status is 1 if one of them failed.

    Models created on the server itself are left alone: a registry may have another model of that name.

    Raises:
        APIError: the server does not report where its models came from.
        NoServerError
    """
    before = _digests(client)
    origins = {name: origin for name, origin in _origins(client).items() if name in before}
    names = [name for name, origin in origins.items() if origin == "registry"]
    failed: list[str] = []
    unknown: list[str] = []
    for number, name in enumerate(names, 1):
        _report(f"{name} ({number} of {len(names)})")
        try:
            pull_model(client, {"model": name, **body})
        except APIError as error:
            _report(f"Error: {name}: {error}")
            (unknown if str(error).startswith(NOT_IN_REGISTRY) else failed).append(name)
    after = _digests(client)
    changed = [name for name in names if name in after and after[name] != before[name]]
    parts = [
        f"{len(changed)} updated{_listed(changed)}",
        f"{len(names) - len(changed) - len(failed) - len(unknown)} up to date",
    ]
    if unknown:
        parts.append(f"{len(unknown)} not in the registry{_listed(unknown)}")
    if failed:
        parts.append(f"{len(failed)} failed{_listed(failed)}")
    if len(origins) > len(names):
        parts.append(f"{len(origins) - len(names)} created locally and left alone")
    _report(f"{len(names)} of {len(origins)} models were pulled from registries: {', '.join(parts)}")
    return 1 if failed else 0


def _digests(client: Client) -> dict[str, str]:
    return {model["name"]: model["digest"] for model in client.call("GET", "/api/tags")["models"] or ()}


def _origins(client: Client) -> dict[str, str]:
    try:
        origins: dict[str, str] = client.call("GET", "/api/origins")["origins"]
    except APIError as error:
        if error.status != 404:
            raise
        raise APIError(
            "this server does not report which of its models came from a registry, and a pull would replace "
            f"models created locally; name the models: {PROGRAM} pull MODEL"
        ) from None
    return origins


def _listed(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _report(text: str) -> None:
    print(safe(text), file=sys.stderr, flush=True)
