"""Prompt formats of model families that bring no template of their own, one module a family."""
