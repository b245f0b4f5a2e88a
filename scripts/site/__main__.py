"""Builds the site from docs/ into build/site: `python -m scripts.site [--serve [PORT]]`.

A warning, such as of a link or an anchor that does not exist, is an error.
"""

from __future__ import annotations

import functools
import http.server
import sys

from sphinx.application import Sphinx

from scripts.site.assemble import assemble
from scripts.site.blocks import ROOT

SOURCE = ROOT / "build" / "site" / "source"
HTML = ROOT / "build" / "site" / "html"
_THEME = ROOT / "scripts" / "site" / "theme"
_PORT = 8000


def build() -> int:
    """Build the site; 0, or 1 after warnings."""
    assemble(SOURCE)
    app = Sphinx(
        SOURCE,
        _THEME,
        HTML,
        ROOT / "build" / "site" / "trees",
        "html",
        warningiserror=True,
        parallel=2,
        status=None,
    )
    app.build()
    print(f"{HTML / 'index.html'}: {len(app.env.found_docs)} pages", file=sys.stderr)
    return int(app.statuscode)


def serve(port: int) -> None:
    """Show what was built, to this machine alone."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=HTML)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/  Ctrl-C ends it", file=sys.stderr)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def main() -> int:
    status = build()
    if status == 0 and "--serve" in sys.argv:
        rest = sys.argv[sys.argv.index("--serve") + 1 :]
        serve(int(rest[0]) if rest else _PORT)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
