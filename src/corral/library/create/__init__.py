"""Creates models from uploaded files or existing models: layers, a config and a manifest."""
