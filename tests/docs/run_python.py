"""Runs the Python examples of the docs (see `Interpreter`): those of a page share their names."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any


def main() -> None:
    warnings.simplefilter("ignore", ResourceWarning)
    httpx_fails_loudly()
    groups: dict[str, dict[str, Any]] = {}
    answers = sys.stdout
    for line in sys.stdin:
        order = json.loads(line)
        names = groups.setdefault(order["folder"], {"__name__": "__main__"})
        os.chdir(order["folder"])
        output, error = io.StringIO(), ""
        with contextlib.redirect_stdout(output):
            try:
                exec(compile(Path(order["file"]).read_text(), order["file"], "exec"), names)
            except BaseException:
                error = traceback.format_exc()
        answers.write(json.dumps({"error": error, "output": output.getvalue()}) + "\n")
        answers.flush()


def httpx_fails_loudly() -> None:
    """Examples print what was answered; here an error is a failure."""
    import httpx

    def request(*arguments: Any, **named: Any) -> httpx.Response:
        with httpx.Client(timeout=None) as client:
            named.pop("timeout", None)
            return client.request(*arguments, **named).raise_for_status()

    for method in ("get", "post", "delete", "head"):
        setattr(httpx, method, lambda *a, _method=method, **n: request(_method.upper(), *a, **n))
    httpx.request = request


if __name__ == "__main__":
    main()
