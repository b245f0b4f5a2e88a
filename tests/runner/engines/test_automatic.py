"""The engine of a server that was told none; engines and cards are made up, `build.json` files are real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corral.cli.frame.flags import Arguments
from corral.cli.tools import serve
from corral.config import Settings
from corral.gpus import EngineDevice
from corral.runner.engines.automatic import Resolved, choice_of, gpus_of, resolve_engine
from corral.runner.engines.choice import Engine, UnknownEngineError, stored_name, use_engine, wheel_version
from corral.runner.engines.probe import ProbeError

CARD = EngineDevice("CUDA0", "NVIDIA GeForce RTX 4090", "gpu", 24 << 30, 23 << 30)
GRAPHICS = EngineDevice("Vulkan0", "Intel(R) Iris(R) Xe Graphics", "igpu", 24 << 30, 23 << 30)
CPU = EngineDevice("CPU", "CPU", "cpu", 1, 1)


@pytest.fixture(autouse=True)
def a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.runner.engines.automatic.may_have_gpu", lambda: True)


def install(home: Path, *names: str, version: str = "") -> None:
    for name in names:
        folder = home / "engines" / name
        folder.mkdir(parents=True)
        (folder / "build.json").write_text(json.dumps({"version": version or wheel_version()}))


class Probe:
    """Answers by the name of an engine's folder; without one the engine fails."""

    def __init__(self, **devices: tuple[EngineDevice, ...]) -> None:
        self.devices = devices
        self.asked: list[str] = []

    def __call__(self, *, package_folder: Path, env: dict[str, str]) -> tuple[EngineDevice, ...]:
        self.asked.append(package_folder.name)
        if package_folder.name not in self.devices:
            raise ProbeError("libcuda.so.1: cannot open shared object file")
        return self.devices[package_folder.name]


def chosen(home: Path, probe: Probe, **settings: Any) -> Resolved:
    return resolve_engine(Settings(**settings), home, {}, probe=probe)


def test_the_best_one_whose_devices_are_there(tmp_path: Path) -> None:
    """CUDA before Vulkan before the build for this processor; later ones are not asked."""
    install(tmp_path, "native", "vulkan", "cuda")
    probe = Probe(cuda=(CARD, CPU), vulkan=(GRAPHICS, CPU))
    resolved = chosen(tmp_path, probe)
    assert (resolved.engine.name, resolved.notes, resolved.is_automatic) == ("cuda", (), True)
    assert probe.asked == ["cuda"]
    assert choice_of(Settings(), resolved, {}).package_folder == tmp_path / "engines/cuda"
    assert gpus_of(Settings(), resolved, {}).devices == (CARD, CPU)


@pytest.mark.parametrize(
    ("probe", "settings", "expected", "notes"),
    [
        (Probe(vulkan=(CARD,)), {}, "vulkan", ["the cuda engine is passed over: libcuda.so.1: cannot open"]),
        (
            Probe(cuda=(CPU,), vulkan=(CARD,)),
            {},
            "vulkan",
            ["the cuda engine is passed over: it lists no device"],
        ),
        # Slow graphics is no reason to use Vulkan, unless it is wanted.
        (Probe(cuda=(CPU,), vulkan=(GRAPHICS,)), {}, "native", ["the cuda engine", "the vulkan engine"]),
        (Probe(cuda=(CPU,), vulkan=(GRAPHICS,)), {"counts_integrated": True}, "vulkan", ["the cuda engine"]),
        (Probe(cuda=(CARD,), vulkan=(CARD,)), {"llm_library": "vulkan"}, "vulkan", []),
        (Probe(cuda=(CARD,), vulkan=(CARD,)), {"llm_library": "cuda_v12"}, "cuda", []),
        (Probe(cuda=(CARD,), vulkan=(CARD,)), {"llm_library": "cpu"}, "native", []),
        (Probe(vulkan=(CARD,), cuda=(CPU,)), {"uses_vulkan": False}, "native", ["the cuda engine"]),
    ],
)
def test_what_is_passed_over(
    tmp_path: Path, probe: Probe, settings: dict[str, Any], expected: str, notes: list[str]
) -> None:
    install(tmp_path, "native", "vulkan", "cuda")
    resolved = chosen(tmp_path, probe, **settings)
    assert resolved.engine.name == expected
    assert len(resolved.notes) == len(notes)
    assert all(note.startswith(start) for note, start in zip(resolved.notes, notes, strict=True))


def test_another_version(tmp_path: Path) -> None:
    """It is passed over with the command that renews it."""
    install(tmp_path, "cuda", "native", version="1.0")
    resolved = chosen(tmp_path, Probe(cuda=(CARD,)))
    assert resolved.engine.name == "builtin"
    assert resolved.notes == (
        f"the cuda engine is passed over: it has version 1.0, Corral needs {wheel_version()}; renew it: corral engine"
        " install cuda",
        f"the native engine is passed over: it has version 1.0, Corral needs {wheel_version()}; renew it: corral"
        " engine build",
    )


def test_without_a_card_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.runner.engines.automatic.may_have_gpu", lambda: False)
    install(tmp_path, "cuda", "vulkan")
    probe = Probe(cuda=(CARD,))
    assert chosen(tmp_path, probe).engine == Engine("builtin")
    assert probe.asked == []


def test_who_was_told_one_uses_that(tmp_path: Path) -> None:
    """By the setting, or by `corral engine use`; `auto` takes that back."""
    install(tmp_path, "cuda", "native")
    probe = Probe(cuda=(CARD,))
    assert chosen(tmp_path, probe, engine="native").engine.name == "native"
    use_engine("native", tmp_path)
    assert chosen(tmp_path, probe).engine.name == "native"
    assert not chosen(tmp_path, probe).is_automatic
    assert chosen(tmp_path, probe, engine="AUTO").engine.name == "cuda"
    use_engine("auto", tmp_path)
    assert stored_name(tmp_path) == "auto"
    assert chosen(tmp_path, probe).engine.name == "cuda"
    with pytest.raises(UnknownEngineError):
        chosen(tmp_path, probe, engine="rocm")


@pytest.mark.parametrize(
    ("flags", "answer", "advice", "expected"),
    [
        ({}, "y\n", "corral engine install cuda", ["cuda"]),
        ({}, "\n", "corral engine install cuda", []),
        ({}, None, "corral engine install cuda", []),  # not a terminal: nobody is asked
        ({"install-engine": "true"}, None, "corral engine install vulkan", ["vulkan"]),
        ({"install-engine": "true"}, None, "", []),
        ({"install-engine": "true"}, None, "install the driver; then corral engine install cuda", []),
    ],
)
def test_serve_offers_an_engine(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flags: dict[str, str],
    answer: str | None,
    advice: str,
    expected: list[str],
) -> None:
    """Nothing is installed without being asked for."""
    installed: list[str] = []
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path))
    monkeypatch.setattr(serve, "run_server", lambda _settings: 0)
    monkeypatch.setattr(serve, "is_terminal", lambda _stream: answer is not None)
    monkeypatch.setattr("sys.stdin.readline", lambda: answer or "", raising=False)
    monkeypatch.setattr(
        "corral.runner.engines.gpus.EngineGPUs.problem",
        lambda _self: ("a card is not used" if advice else "", advice),
    )
    monkeypatch.setattr(
        "corral.cli.tools.engine.engine", lambda arguments: installed.append(arguments.words[1])
    )
    assert serve.serve(Arguments([], flags)) == 0
    assert installed == expected
