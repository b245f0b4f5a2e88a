"""From conversations to prompt text: Go templates, built-in renderers and the Jinja templates of model files."""
