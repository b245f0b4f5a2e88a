"""What the engine itself makes of chat templates, in a process of its own: `python -m` with this name.

stdin: `{"model", "template", "bodies"}` as JSON; stdout: for each body of `/apply-template` its prompt, or null.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from typing import Any


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _prompt(base: str, body: Any) -> str | None:
    request = urllib.request.Request(
        f"{base}/apply-template", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            prompt: str = json.load(response)["prompt"]
            return prompt
    except urllib.error.HTTPError:
        return None


def main() -> None:
    """Render all bodies and end."""
    import xllamacpp

    job = json.load(sys.stdin)
    port = _free_port()
    params = xllamacpp.CommonParams()
    params.model.path = job["model"]
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 512
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.ui = False
    params.verbosity = -1
    params.use_jinja = True
    params.chat_template = job["template"]
    out = os.dup(1)
    os.dup2(2, 1)  # the engine writes to stdout
    server = xllamacpp.Server(params)
    prompts = [_prompt(f"http://127.0.0.1:{port}", body) for body in job["bodies"]]
    with os.fdopen(out, "w") as stream:
        json.dump(prompts, stream)
    del server
    os._exit(0)


if __name__ == "__main__":
    main()
