"""The command line: a client of the server's HTTP API like any other, except for `serve`."""
