"""Makes models: from uploaded files or from a model that is there, to layers, a config and a manifest."""
