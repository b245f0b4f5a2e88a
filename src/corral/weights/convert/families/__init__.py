"""One small module per model family; `known` finds the one for an architecture."""
