"""The web page at `/ui/`: the built files of `web/`, served from a table of known names."""
