"""The engine child: one process a loaded model, driven over HTTP on a private unix socket."""
