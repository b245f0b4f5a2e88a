"""Prompt formats of model families, by the RENDERER name that a model's config gives."""
