"""The steps that decide who may do what, in their order."""

from __future__ import annotations

from corral.access.keyring import Keyring
from corral.api.http.steps import Step
from corral.api.http.steps.authenticate import Authenticate
from corral.api.http.steps.scope import check_scope
from corral.config import Settings


def access_steps(settings: Settings, keyring: Keyring) -> list[Step]:
    """Who is it, and may they use the route?"""
    return [Authenticate(keyring, settings.auth_mode), check_scope]
