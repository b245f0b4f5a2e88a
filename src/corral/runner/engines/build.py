"""Compiles the engine from PyPI's source on this machine, into a folder of its own.

The wheel has to run everywhere, so it uses what CPUs had ten years ago, and no GPU. A build of the same version here
uses all that this CPU has (with AVX-512 prompts are read 1.7 times as fast), or has code for this machine's cards.
The old build stays in place until the new one has proven that it can be imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from corral.devices import read_memory
from corral.runner.engines import buildtree, cards, compilers, cudatoolkit, pip, toolchain, wheels
from corral.runner.engines.choice import wheel_version
from corral.runner.engines.distributions import how_to_install
from corral.runner.engines.facts import EngineFacts
from corral.runner.engines.folders import NATIVE, EngineSetupError, discard, engines_folder, locked, workplace
from corral.runner.engines.placing import (
    Progress,
    backend_of,
    disk_errors,
    no_space,
    pip_environment,
    unpack,
)
from corral.runner.engines.toolchain import Toolchain

_CMAKE_ARGS = (
    "-DLLAMA_LLGUIDANCE=OFF -DLLAMA_BUILD_BORINGSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF"
)
# What a compiler's step costs beside a file of C++, roughly.
_STEPS = (
    (re.compile(r"Building (?:CUDA|HIP) object"), 6.0),
    (re.compile(r"Generate vulkan shaders for "), 3.0),
    (re.compile(r"Building C(?:XX)? object"), 1.0),
)
# The same by what a step has made.
_FILES = (
    (re.compile(r"\.cu\.o$"), 6.0),
    (re.compile(r"\.comp\.cpp$"), 3.0),
    (re.compile(r"\.c(?:pp)?\.o$"), 1.0),
)
# All steps of a target (b11549), in that unit. The build's own percentages begin anew with each part of it.
_TOTAL = {"native": 197.0, "vulkan": 820.0, "cuda": 1061.0, "rocm": 1061.0}
# What one step takes at its worst: as many run at a time as fit into the memory.
_STEP_BYTES = {"cuda": 3 << 30, "rocm": 3 << 30}
_COMPILED = 0.95
_NOT_IN_GLSLC = re.compile(r"-- (GL_\w+) not supported by glslc")
_BUILDERS = ("cmake>=3.31,<5", "ninja>=1.11,<2")
# Variables of a person's own that decide how files turn out.
_FLAGS = (
    *("CC", "CXX", "CUDAHOSTCXX", "CFLAGS", "CXXFLAGS", "CUDAFLAGS", "HIPFLAGS", "LDFLAGS", "VULKAN_SDK"),
    *compilers.SEARCH_VARIABLES,
)


def build_engine(
    home: Path,
    target: str = NATIVE,
    *,
    arch: str = "",
    jobs: int = 0,
    clean: bool = False,
    on_progress: Progress = lambda _share, _line: None,
) -> EngineFacts:
    """Compile and put into place. `target` is one of `folders.NAMES`, `arch` the cards to compile for.

    It goes on where the last build of this target has ended, if that had the same settings and tools; `clean` begins
    anew.

    The native build takes ten minutes on two cores, Vulkan about twice as long, CUDA and ROCm an hour or more.
    `on_progress` hears the share that is done (0 to 1, never less than before) and what is being done.

    Raises:
        EngineSetupError: a tool is missing, or the compiler failed. Nothing was changed.
    """
    wanted = wheel_version()
    if not wanted:
        raise EngineSetupError("the xllamacpp package is not installed, so its version is not known")
    toolchain.check_tools(target)
    pip.pip_command()
    with locked(home), disk_errors(home), workplace(home, target) as work:
        log = engines_folder(home) / "build.log"
        log.write_text("")
        tree = buildtree.open_tree(home, target, clean=clean)
        try:
            tools = _toolchain(target, arch, tree, work, log, on_progress)
            meter = BuildMeter(target, on_progress)
            wheel = _compile(target, tools, tree, work, log, wanted, jobs or default_jobs(target), meter)
        finally:
            buildtree.close_tree(tree)
        facts = EngineFacts(
            target,
            wanted,
            backend_of(target),
            "build",
            wheels.PACKAGE,
            architectures=tools.architectures,
            without=tuple(meter.without),
        )
        facts = unpack(
            home,
            facts,
            wheel,
            work,
            log,
            lambda share, text: on_progress(_COMPILED + 0.05 * max(share - 0.85, 0) / 0.15, text),
            tools.libraries,
        )
        discard(tree)
        return facts


def default_jobs(target: str) -> int:
    """How many files are compiled at a time: one for each core, if they fit into the memory."""
    cores = os.cpu_count() or 1
    needed = _STEP_BYTES.get(target)
    return max(min(cores, read_memory()[1] // needed), 1) if needed else cores


def _toolchain(target: str, arch: str, tree: Path, work: Path, log: Path, on_progress: Progress) -> Toolchain:
    match target:
        case "vulkan":
            return toolchain.vulkan_tools(tree)
        case "rocm":
            return toolchain.rocm_tools(arch)
        case "cuda":
            return _cuda(arch, tree, work, log, on_progress)
        case _:
            return Toolchain()


def _cuda(arch: str, tree: Path, work: Path, log: Path, on_progress: Progress) -> Toolchain:
    """The machine's own CUDA toolkit, or NVIDIA's packages from PyPI."""
    gpus = cards.cuda_cards()
    root, problem = toolchain.cuda_root()
    if root is not None:
        names = toolchain.cuda_architectures(arch, gpus, toolchain.cuda_version(root)[0])
        return _with_nvcc(root, toolchain.cuda_variables(root, names), names)
    names = toolchain.cuda_architectures(arch, gpus, cudatoolkit.MAJOR)
    on_progress(0.0, f"{problem}: fetching NVIDIA's compiler and cuBLAS from PyPI")
    root = cudatoolkit.fetch_toolkit(
        tree / "cuda", work, log, problem, cards.driver_version(), lambda line: on_progress(0.0, line.strip())
    )
    # The libraries lie beside the engine, which finds them there.
    env = {**toolchain.cuda_variables(root, names), "LD_RUN_PATH": "$ORIGIN"}
    return _with_nvcc(root, env, names, cudatoolkit.runtime_libraries(root))


def _with_nvcc(
    root: Path, env: dict[str, str], names: tuple[str, ...], libraries: tuple[Path, ...] = ()
) -> Toolchain:
    return Toolchain(env, names, libraries, ("c++", "cc", str(root / "bin/nvcc")))


def _builders(tree: Path, work: Path, log: Path) -> dict[str, str]:
    """Variables with which CMake and Ninja are found: the machine's own, else those of PyPI."""
    env = {"CMAKE_GENERATOR": "Ninja"}
    if not toolchain.builders_are_missing():
        return env
    target = tree / "tools"
    command = [*pip.pip_command(), "install", "--no-compile", "--no-input", "--disable-pip-version-check"]
    command += ["--upgrade", "--target", str(target), *_BUILDERS]
    output = pip.run(command, env=pip_environment(work), log=log)
    if output.status != 0:
        raise EngineSetupError(
            f"no cmake or ninja found, and those of PyPI did not come: {output.reason()}",
            hint=how_to_install(["cmake", "ninja"]),
        )
    folders = [str(target / "cmake/data/bin"), str(target / "ninja/data/bin"), str(target / "bin")]
    return {**env, "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])}


def _compile(
    target: str,
    tools: Toolchain,
    tree: Path,
    work: Path,
    log: Path,
    version: str,
    jobs: int,
    meter: BuildMeter,
) -> Path:
    """Compile the wheel of a target; returns its file."""
    meter.read("fetching the source")
    source = buildtree.take_source(tree, version, work, log)
    builders = _builders(tree, work, log)
    flags = f"{_CMAKE_ARGS} {os.environ.get('CMAKE_ARGS', '')}".strip()
    settings = {
        "folder": str(tree),
        "cmake": flags,
        "targets": tools.env,
        "flags": {name: os.environ[name] for name in _FLAGS if name in os.environ},
        "compilers": compilers.versions(tools.compilers),
    }
    goes_on = buildtree.settle(tree, version, settings)
    command = [*pip.pip_command(), "wheel", "-v", "--no-deps", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--wheel-dir", str(work / "wheel"), str(source)]
    env = {**tools.env, **builders, "CMAKE_ARGS": flags}
    env |= {"NPROC": str(jobs), "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs)}
    meter.skip(buildtree.compiled_files(tree))
    output = pip.run(
        command, env=_without_targets(pip_environment(work, env), env), log=log, on_line=meter.read
    )
    if output.is_out_of_space:
        raise no_space()
    if output.status != 0:
        anew = f", or begin anew: corral engine build {target} --clean" if goes_on else ""
        raise EngineSetupError(f"the build failed: {output.reason()}", hint=f"see {log}{anew}")
    return next((work / "wheel").glob("*.whl"))


def _without_targets(env: dict[str, str], ours: dict[str, str]) -> dict[str, str]:
    """What the shell says of other targets must not decide about this one."""
    return {name: value for name, value in env.items() if name in ours or not name.startswith("XLLAMACPP_")}


class BuildMeter:
    """How far a build is, from its output. Compiling makes nine tenths of it.

    `without`: what the compiler of shaders is too old for.
    """

    def __init__(self, target: str, on_progress: Callable[[float, str], None]) -> None:
        self._total = _TOTAL[target]
        self._done = 0.0
        self._share = 0.0
        self._on_progress = on_progress
        self.without: list[str] = []

    def skip(self, files: Iterable[str]) -> None:
        """Count what an earlier build has compiled."""
        self._done += sum(cost for name in files for pattern, cost in _FILES if pattern.search(name))

    def read(self, line: str) -> None:
        if found := _NOT_IN_GLSLC.search(line):
            self.without.append(found[1])
        self._done += next((cost for pattern, cost in _STEPS if pattern.search(line)), 0.0)
        if self._done:
            self._share = 0.05 + 0.9 * min(self._done / self._total, 1.0)
        self._on_progress(self._share, line.strip())


def build_progress(lines: Iterable[str], target: str = NATIVE) -> Iterator[tuple[float, str]]:
    """The share that is done, and the line, for each line of a build's output."""
    heard: list[tuple[float, str]] = []
    meter = BuildMeter(target, lambda share, line: heard.append((share, line)))
    for line in lines:
        meter.read(line)
        yield heard.pop()
