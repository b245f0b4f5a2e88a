"""Checks what the configuration says of models, before a request meets it."""

from __future__ import annotations

from corral.configfile.groups import check_groups
from corral.configfile.sections import Sections
from corral.errors import CorralError
from corral.inference.options import parse_options


def check_sections(sections: Sections) -> None:
    """Raises CorralError: an option has a value of the wrong type, or one without a meaning; groups contradict."""
    check_groups(sections.groups)
    for section in sections.models:
        try:
            parse_options({}, section.defaults)
        except CorralError as exc:
            raise CorralError(
                f'[models."{section.pattern}"]: {exc}', hint="correct the configuration file"
            ) from exc
