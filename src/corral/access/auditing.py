"""Whether there is an audit log, and where, as the settings have it."""

from __future__ import annotations

from pathlib import Path

from corral.access.audit import AuditLog
from corral.config import Settings
from corral.homefolder import home_folder

_AUTO = "auto"


def audit_log(settings: Settings) -> AuditLog | None:
    """The log; None if it is off."""
    if settings.audit.lower() == "off":
        return None
    named = settings.audit.lower() != _AUTO
    folder = Path(settings.audit).expanduser() if named else home_folder() / "audit"
    return AuditLog(folder, keep_days=settings.audit_keep_days)


def is_always_on(settings: Settings) -> bool:
    """Whether acts are written down even while there is no API key."""
    return settings.audit.lower() != _AUTO or settings.auth_mode == "on"
