"""User names and passwords for registries, as docker stores them: `~/.docker/config.json` and its helpers."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_log = logging.getLogger("corral.registry")
_MAX_CONFIG_BYTES = 1 << 20
_HELPER_TIMEOUT_S = 20.0
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """Either a user and a password, or a token that token services exchange. `str` never shows the secret."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an `Authorization` header."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


def default_docker_config(env: Mapping[str, str] = os.environ) -> Path:
    folder = env.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


class DockerCredentials:
    """Looks up credentials. The file is read for each look-up, so a `docker login` takes effect at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, host: str) -> Credential | None:
        """What is stored for a host (with its port, if the registry has one)."""
        config = self._read()
        helpers = config.get("credHelpers")
        helper = helpers.get(host) if isinstance(helpers, dict) else None
        if helper is None:
            helper = config.get("credsStore")
        if isinstance(helper, str) and (found := _ask_helper(helper, host)):
            return found
        auths = config.get("auths")
        if isinstance(auths, dict):
            for key, value in auths.items():
                if _host_of(key) == host.lower() and isinstance(value, dict):
                    return _decode(value)
        return None

    def _read(self) -> dict[str, Any]:
        try:
            with self._path.open("rb") as file:
                config = json.loads(file.read(_MAX_CONFIG_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as exc:
            _log.warning("cannot read %s: %s", self._path, type(exc).__name__)
            return {}
        return config if isinstance(config, dict) else {}


def _host_of(key: str) -> str:
    """Keys are hosts, or URLs as older versions wrote them."""
    return (
        key.partition("://")[2].partition("/")[0].lower() if "://" in key else key.partition("/")[0].lower()
    )


def _decode(value: dict[str, Any]) -> Credential | None:
    token = value.get("identitytoken")
    if isinstance(token, str) and token:
        return Credential(identity_token=token)
    auth = value.get("auth")
    if isinstance(auth, str) and auth:
        try:
            user, mark, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        return Credential(user, password.rstrip("\0")) if mark else None
    name, secret = value.get("username"), value.get("password")
    if isinstance(name, str) and isinstance(secret, str) and name:
        return Credential(name, secret)
    return None


def _ask_helper(name: str, host: str) -> Credential | None:
    """Run `docker-credential-NAME get`, docker's protocol: the host on stdin, JSON on stdout."""
    program = shutil.which(f"docker-credential-{name}") if _HELPER.fullmatch(name) else None
    if program is None:
        _log.warning("credential helper %r not found", name[:64])
        return None
    try:
        done = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_TIMEOUT_S, check=False
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, RecursionError, subprocess.TimeoutExpired) as exc:
        _log.warning("credential helper %r failed: %s", name, type(exc).__name__)
        return None
    if not isinstance(answer, dict):
        return None
    user, secret = answer.get("Username"), answer.get("Secret")
    if not (isinstance(user, str) and isinstance(secret, str) and secret):
        return None
    return Credential(identity_token=secret) if user == "<token>" else Credential(user, secret)
