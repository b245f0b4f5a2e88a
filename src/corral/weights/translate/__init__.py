"""Translates model files whose layout the engine cannot load; the translated files are kept near the blobs."""

from corral.weights.translate.known import (
    VERSION,
    embeds_projector,
    needs_translation,
    projector_view,
    text_view,
)
from corral.weights.translate.writing import write_view

__all__ = ["VERSION", "embeds_projector", "needs_translation", "projector_view", "text_view", "write_view"]
