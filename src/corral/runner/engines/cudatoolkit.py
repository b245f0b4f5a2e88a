"""NVIDIA's compiler and cuBLAS from PyPI, for machines that have no CUDA toolkit.

Only CUDA 13 has its compiler there; the packages of CUDA 12 hold parts of it. The version is the one that the wheels
of `xllamacpp` are built with (index `cu132`).
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

from corral.runner.engines import pip
from corral.runner.engines.buildtree import TOOLKIT_MARK
from corral.runner.engines.compilers import run_tool
from corral.runner.engines.distributions import how_to_install
from corral.runner.engines.folders import EngineSetupError, discard
from corral.runner.engines.placing import no_space, pip_environment

# The metapackage names the versions of all parts that belong together.
_REQUIREMENT = "cuda-toolkit[nvcc,crt,nvvm,cccl,cudart,cublas]==13.2.*"
_FOLDER = "nvidia/cu13"
# Written when all is there.
_MARK = Path(TOOLKIT_MARK).name
MAJOR = 13
_OLDEST_DRIVER = (13, 0)
_MACHINES = ("x86_64", "aarch64")
# What a finished engine loads; the rest is for compiling.
_LIBRARIES = ("libcudart.so.*", "libcublas.so.*", "libcublasLt.so.*")


def fetch_toolkit(
    target: Path,
    work: Path,
    log: Path,
    problem: str,
    driver: tuple[int, int] | None,
    on_line: Callable[[str], None],
) -> Path:
    """Install the toolkit in a folder (1.2 GB, in a few minutes) where it is not there yet; returns its root.

    `problem`: why the machine's own cannot be used. `driver`: the newest CUDA version of the NVIDIA driver.

    Raises:
        EngineSetupError
    """
    advice = how_to_install(["nvcc"])
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        raise EngineSetupError(problem, hint=advice)
    if driver is not None and driver < _OLDEST_DRIVER:
        raise EngineSetupError(
            f"{problem}, and the one on PyPI needs a driver for CUDA 13; this one supports {driver[0]}.{driver[1]}",
            hint=f"update the driver (580 or newer), or {advice} (12.x)",
        )
    root, mark = target / _FOLDER, target / _MARK
    if mark.is_file() and mark.read_text() == _REQUIREMENT:
        return root
    discard(target)
    command = [*pip.pip_command(), "install", "--disable-pip-version-check", "--no-input", "--no-compile"]
    command += ["--only-binary", ":all:", "--target", str(target), _REQUIREMENT]
    output = pip.run(command, env=pip_environment(work), log=log, on_line=on_line)
    if output.is_out_of_space:
        raise no_space()
    if output.status != 0 or not (root / "bin/nvcc").is_file():
        raise EngineSetupError(
            f"{problem}, and NVIDIA's packages on PyPI did not come: {output.reason()}", hint=advice
        )
    _complete(root, work)
    mark.write_text(_REQUIREMENT)
    return root


def _complete(root: Path, work: Path) -> None:
    """Add what a toolkit has and the packages do not: names for the linker, `lib64`, and a driver to link with."""
    lib = root / "lib"
    for path in list(lib.glob("*.so.*")):
        link = lib / re.sub(r"\.so\..*", ".so", path.name)
        if not link.exists():
            link.symlink_to(path.name)
    if not (root / "lib64").exists():
        (root / "lib64").symlink_to("lib")
    stubs = lib / "stubs"
    stubs.mkdir(exist_ok=True)
    # The real library comes with the driver. To link with it, a library with its names is enough. Its functions
    # return what those of NVIDIA's own stub do: CUDA_ERROR_STUB_LIBRARY.
    names = sorted(set(re.findall(r"\bcu[A-Z]\w*", (root / "include/cuda.h").read_text(errors="replace"))))
    source = work / "stub.c"
    source.write_text("".join(f"int {name}(void) {{ return 34; }}\n" for name in names))
    stub = stubs / "libcuda.so"
    text = run_tool(
        ["cc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-o", str(stub), str(source)]
    )
    if not stub.is_file():
        raise EngineSetupError(
            f"the linker failed: {(text.strip().splitlines() or ['cc cannot be run'])[-1]}"
        )


def runtime_libraries(root: Path) -> tuple[Path, ...]:
    """The files of the toolkit that an engine loads when it runs."""
    return tuple(path for pattern in _LIBRARIES for path in sorted((root / "lib").glob(pattern)))
