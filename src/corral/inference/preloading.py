"""Models that are loaded when the server starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from corral.errors import CorralError
from corral.inference.pipeline import Inference

_log = logging.getLogger("corral")


async def preload(inference: Inference, names: Sequence[str]) -> None:
    """Load models one after the other; one that cannot be loaded is logged, and the next one follows."""
    for name in names:
        try:
            await inference.load(name)
        except CorralError as error:
            hint = f"; to mend it: {error.hint}" if error.hint else ""
            _log.error("CORRAL_PRELOAD: %s cannot be loaded: %s%s", name, error, hint)
        except Exception:
            _log.exception("CORRAL_PRELOAD: %s cannot be loaded", name)
