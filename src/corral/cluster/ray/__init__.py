"""Ray mode: Ray says which machines belong together and starts a server on each; requests never pass through it."""
