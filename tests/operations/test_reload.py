"""The configuration is read again while the server runs: all of it, or nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.config import Settings
from corral.errors import CorralError
from corral.operations.reload import Commit, Part, Reloader
from tests.conftest import PLAIN_TEMPLATE, Server
from tests.waiting import wait_until


def read_again(server: Server, file: Path, text: str) -> None:
    """Replace the file, and wait until the server has read it."""
    count = sum("configuration read" in line or "stays as it was" in line for line in server.log)
    other = file.with_suffix(".new")
    other.write_text(text)
    os.replace(other, file)
    wait_until(
        lambda: sum("configuration read" in line or "stays as it was" in line for line in server.log) > count
    )


@pytest.mark.process
def test_a_changed_file_takes_effect(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """At once where that can be; a broken one changes nothing; what needs a restart is named."""
    file = tmp_path / "c.toml"
    file.write_text("")
    server = start_server(CORRAL_CONFIG=str(file))
    server.create("say", "say", template=PLAIN_TEMPLATE)
    call = {"model": "say", "prompt": "x", "stream": False}

    def count(model: str = "say") -> int:
        return int(server.post("/api/generate", {**call, "model": model})["eval_count"])

    read_again(server, file, '[models.say]\nset = { num_predict = 2 }\naliases = ["short"]\n')
    assert (count(), count("short")) == (2, 2)
    assert any('configuration read changed="sections"' in line for line in server.log)
    read_again(server, file, "[models.say]\nset = { num_predict = 'x' }\n")
    assert count() == 2
    assert any('[models."say"]: option "num_predict" must be of type integer' in line for line in server.log)
    read_again(server, file, "[models.say]\nset = { num_predct = 3 }\n")
    assert count() == 2
    assert any("did you mean num_predict?" in line for line in server.log)
    read_again(
        server, file, "[limits]\nmax_json_depth = 3\n[scheduler]\nkeep_alive = '0s'\n[log]\ndebug = true\n"
    )
    assert (
        server.request("POST", "/api/show", b'{"model": "say", "options": {"a": {"b": {"c": 1}}}}')[0] == 200
    )
    assert any("needs a restart to take effect: limits.max_json_depth" in line for line in server.log)
    # A loaded model stays as it is; the next load follows the new settings.
    server.post("/api/generate", {"model": "say", "keep_alive": 0})
    wait_until(lambda: server.get("/api/ps")["models"] == [])
    count()
    wait_until(lambda: server.get("/api/ps")["models"] == [])
    assert any(" DEBUG " in line for line in server.log)


@pytest.mark.process
def test_sighup_reads_again_at_once(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Also with a file that has not changed. Without one, it ends the server as it always did."""
    file = tmp_path / "c.toml"
    file.write_text("")
    server = start_server(CORRAL_CONFIG=str(file))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("configuration read" in line for line in server.log))
    assert server.request("GET", "/")[0] == 200
    other = start_server()
    other.process.send_signal(signal.SIGHUP)
    assert other.process.wait(60) == 0


def test_all_parts_or_none() -> None:
    """A part that cannot take its settings keeps the others from taking theirs."""
    taken: list[str] = []
    new = [Settings(log_level="DEBUG", max_queue=3, max_connections=5)]

    def part(name: str, *, fails: bool = False) -> Part:
        def prepare(settings: Settings) -> Commit:
            if fails:
                raise CorralError("no")
            return lambda: taken.append(f"{name} {settings.max_queue}")

        return Part(frozenset({name}), prepare)

    async def run() -> None:
        reloader = Reloader(
            Settings(), [part("max_queue"), part("log_level", fails=True)], None, lambda: new[0]
        )
        assert not await reloader.reload()
        assert taken == [] and reloader.settings.max_queue == 512
        reloader = Reloader(
            Settings(), [part("max_queue"), part("log_level"), part("keep_alive_ns")], None, lambda: new[0]
        )
        assert await reloader.reload()
        assert taken == ["max_queue 3", "log_level 3"]
        assert await reloader.reload()
        assert len(taken) == 2  # nothing has changed since

    asyncio.run(run())
