"""One small module for each model family; `registry` finds the one for an architecture."""
