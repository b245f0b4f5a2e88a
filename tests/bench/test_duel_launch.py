"""Servers that the benchmark starts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bench_duel import parse_arguments
from bench.duel.launch import engine
from bench.duel.peers import Peer
from bench.duel.streams import PeerError

_TINY = Path(__file__).parents[2] / "src" / "corral" / "assets" / "corral-tiny.gguf"


@pytest.mark.process
def test_llama_cpps_own_server_takes_part() -> None:
    with engine(_TINY, "m", 512) as (url, pid):
        peer = Peer("engine", url, "m", num_ctx=512, pid=pid)
        peer.detect()
        assert not peer.is_ollama
        assert peer.chat([{"role": "user", "content": "Say the word"}], 4).token_count > 0


@pytest.mark.process
def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(PeerError, match="does not start"), engine(broken, "m", 0):
        pass


def test_memory_of_a_server_that_the_benchmark_starts_needs_no_process_number() -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--model", "m", "--engine", "llama=m.gguf", "--pid", "llama=1"])
