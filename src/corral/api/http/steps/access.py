"""The steps that decide who may do what, in their order."""

from __future__ import annotations

from corral.access.auditing import audit_log, is_always_on
from corral.access.clusterkey import ClusterKey
from corral.access.keyring import Keyring
from corral.access.spent import Spent
from corral.api.http.steps import Step
from corral.api.http.steps.audit import Audit
from corral.api.http.steps.authenticate import Authenticate
from corral.api.http.steps.deadline import SetDeadline
from corral.api.http.steps.limits import CheckLimits
from corral.api.http.steps.mode import CheckMode
from corral.api.http.steps.priority import SetPriority
from corral.api.http.steps.scope import check_scope
from corral.caller import Limits
from corral.config import Settings


def audit_steps(settings: Settings, keyring: Keyring) -> list[Step]:
    """What goes around the answers of errors."""
    log = audit_log(settings)
    if log is None:
        return []
    is_always = is_always_on(settings)

    def is_on() -> bool:
        return is_always or (settings.auth_mode != "off" and keyring.has_keys)

    return [Audit(log, is_on, keeps_bodies=settings.audits_bodies)]


def access_steps(
    settings: Settings, keyring: Keyring, spent: Spent, cluster_key: ClusterKey | None = None
) -> list[Step]:
    """Who is it, does anybody get this here, may they use the route, and how much of it?"""
    steps: list[Step] = [Authenticate(keyring, settings.auth_mode, cluster_key)]
    if settings.is_read_only or settings.is_infer_only:
        steps.append(CheckMode(is_read_only=settings.is_read_only, is_infer_only=settings.is_infer_only))
    default = Limits(
        rpm=settings.rpm,
        tpm=settings.tpm,
        tokens_per_day=settings.tokens_per_day,
        max_parallel=settings.max_parallel,
        max_predict=settings.max_predict,
    )
    limit = SetDeadline(max(settings.max_request_ns, 0) / 1e9)
    return [*steps, check_scope, CheckLimits(default, spent), SetPriority(settings.priority), limit]
