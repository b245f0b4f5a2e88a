"""What may change while the server runs, and how each part takes it."""

from __future__ import annotations

import logging

from corral.config import Settings
from corral.configfile.rules import ModelRules
from corral.inference.sectioncheck import check_sections
from corral.operations.reload import Commit, Part
from corral.scheduler.configure import LIVE_SETTINGS, scheduler_config
from corral.scheduler.loop import Scheduler

_log = logging.getLogger("corral")


def live_parts(rules: ModelRules, scheduler: Scheduler) -> list[Part]:
    """The sections for models, most settings of the scheduler, and the level of the log."""

    def sections(settings: Settings) -> Commit:
        check_sections(settings.sections)
        return lambda: rules.replace(settings.sections)

    def scheduling(settings: Settings) -> Commit:
        config = scheduler_config(settings)
        return lambda: scheduler.reconfigure(config)

    def level(settings: Settings) -> Commit:
        return lambda: _log.setLevel(settings.log_level)

    return [
        Part(frozenset({"sections"}), sections),
        Part(LIVE_SETTINGS, scheduling),
        Part(frozenset({"log_level"}), level),
    ]
