"""A real Prometheus reads what the server counts; the alerts and the board that ship ask for what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corral.api.cluster.measures import ClusterMetrics
from corral.cluster.directory import Directory
from corral.cluster.membership import StaticMembers
from corral.cluster.peers.peers import Peers
from corral.cluster.router import Router
from corral.library.upload_turns import UploadTurns
from corral.metrics.server import ServerMetrics
from corral.metrics.transfers import ledger_family, transfer_families, weight_families
from corral.registry.counts import PeerCounts, TransferCounts
from scripts.grafana_board import BOARD, ROWS, board
from tests.conftest import Server
from tests.ports import free_port
from tests.waiting import wait_until

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus"
EXPRESSIONS = [expression for _, row in ROWS for panel in row for expression, _ in panel.queries]
# What does not happen in a test of a minute: errors of the server, engines that end, guesses, and a cluster.
MAY_BE_EMPTY = ("status=~", "corral_engine_restarts_total", "corral_drafted_tokens_total", "corral_cluster_")
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus is not installed (Debian: apt install prometheus)",
)


def test_the_board_is_the_one_that_the_script_writes() -> None:
    assert json.loads(BOARD.read_text()) == board(), "run python -m scripts.grafana_board"


@pytest.mark.parametrize("text", [*EXPRESSIONS, (ALERTS / "corral.yml").read_text()])
def test_alerts_and_board_ask_for_what_exists(text: str) -> None:
    families = [*ServerMetrics().families, *transfer_families(TransferCounts()), ledger_family(lambda: False)]
    peers = Peers(StaticMembers([]), Router(Directory()), lambda _url: "", name="a", epoch="1")
    families += [*weight_families(PeerCounts(), UploadTurns()), *ClusterMetrics(peers).families()]
    known = {family.name for family in families} | {"corral_event_loop_lag_seconds"}
    for name in re.findall(r"\b(?:corral|process)_[a-z_]+\b(?=[{\[)]|$| >)", text):
        assert name in known or re.sub("_(bucket|count|sum)$", "", name) in known, name


@needs_prometheus
@pytest.mark.process
def test_the_alerts_fire_when_they_should() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", "corral_test.yml"], cwd=ALERTS, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
@pytest.mark.process
def test_promtool_has_nothing_to_say(fake_server: Callable[..., Server]) -> None:
    server = fake_server({}, tokens=3)
    server.post("/api/generate", {"model": "m", "prompt": "x", "stream": False})
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as response:
        text = response.read()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@contextmanager
def prometheus(target: str, folder: Path) -> Iterator[str]:
    """The address of a Prometheus that looks at the target twice a second."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 500ms}\n"
        f"rule_files: ['{ALERTS / 'corral.yml'}']\n"
        f"scrape_configs: [{{job_name: corral, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    words = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(["prometheus", *words], stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def query(address: str, expression: str) -> list[dict[str, Any]]:
    words = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{address}/api/v1/query?{words}", timeout=60) as response:
        answer = json.load(response)
    assert answer["status"] == "success"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/-/ready", timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@needs_prometheus
@pytest.mark.process
@pytest.mark.slow
def test_a_real_prometheus_has_the_numbers(fake_server: Callable[..., Server], tmp_path: Path) -> None:
    server = fake_server({}, tokens=3)
    with prometheus(f"127.0.0.1:{server.port}", tmp_path) as address:
        wait_until(lambda: is_ready(address))
        for _ in range(20):
            server.post("/api/generate", {"model": "m", "prompt": "x", "stream": False})
        server.post("/api/generate", {"model": "m", "prompt": "", "keep_alive": 0})
        wait_until(lambda: not server.get("/api/ps")["models"])
        server.post("/api/generate", {"model": "m"})
        server.post("/api/pull", {"model": "corral-tiny", "stream": False})
        assert server.request("POST", "/api/push", {"model": "a/nothing", "stream": False})[0] >= 400
        wanted = 'corral_requests_total{route="/api/generate",model="m:latest",status="200"}'
        wait_until(lambda: [row["value"][1] for row in query(address, wanted)] == ["21"])
        looks = "count_over_time(up[1m])"
        wait_until(lambda: any(int(row["value"][1]) >= 20 for row in query(address, looks)))
        assert all(row["value"][1] == "1" for row in query(address, 'min_over_time(up{job="corral"}[1m])'))
        for expression in EXPRESSIONS:
            text = (
                expression.replace("$__rate_interval", "1m")
                .replace("$instance", ".*")
                .replace("$model", ".*")
            )
            found = query(address, text)
            assert found or any(word in text for word in MAY_BE_EMPTY), text
