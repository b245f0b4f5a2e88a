"""What compiles an engine: tools and libraries of a target, found on this machine or named with their packages."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from corral.gpus import GPU
from corral.runner.engines import vulkanheaders
from corral.runner.engines.compilers import cxx_compiler, has_header, run_tool
from corral.runner.engines.distributions import how_to_install
from corral.runner.engines.folders import EngineSetupError

_HEADERS = {"vulkan": vulkanheaders.HEADER, "spirv": "spirv/unified1/spirv.hpp"}
_CUDA_ROOTS = ("/usr/local/cuda", "/opt/cuda", "/usr")
_ROCM_ROOTS = ("/opt/rocm", "/usr")
_CUDA_ARCH = re.compile(r"(?:sm_|compute_)?(\d{1,2})\.?(\d)([af]?)(-real|-virtual)?")
_HIP_ARCH = re.compile(r"gfx[0-9a-f]{3,4}")
# CUDA 13 dropped what is older than Turing.
_OLDEST_OF_13 = 75
_OLDEST_CMAKE = (3, 19)


@dataclass(frozen=True, slots=True)
class Toolchain:
    """How a target is compiled. `env`: variables for the build; `architectures`: of the GPUs, as its compiler names
    them; `libraries`: files that the engine needs beside it; `compilers`: what decides how its files turn out.
    """

    env: dict[str, str] = field(default_factory=dict)
    architectures: tuple[str, ...] = ()
    libraries: tuple[Path, ...] = ()
    compilers: tuple[str, ...] = ("c++", "cc")


def check_tools(target: str) -> None:
    """Raise an error that names all that is missing for a target, with the command that installs it.

    Raises:
        EngineSetupError
    """
    missing: list[tuple[str, str]] = []
    if not cxx_compiler():
        missing.append(("no C++ compiler", "c++"))
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append(("no headers of Python", "python"))
    if target == "vulkan":
        if _glslc() is None:
            missing.append(("no glslc", "glslc"))
        names = {"vulkan": "no headers of Vulkan", "spirv": "no headers of SPIR-V"}
        missing += [(names[need], need) for need in names if not has_header(_HEADERS[need])]
    if target == "rocm" and rocm_root() is None:
        missing.append(("no hipcc", "hip"))
    if missing:
        raise EngineSetupError(
            ", ".join(f"{text} found" for text, _ in missing),
            hint=how_to_install([need for _, need in missing]),
        )
    if target == "vulkan":
        vulkanheaders.check_headers()


def vulkan_tools(folder: Path) -> Toolchain:
    """For every card with a Vulkan driver. What the headers lack is put below a folder."""
    env = {"XLLAMACPP_BUILD_VULKAN": "1", **vulkanheaders.header_variables(folder)}
    return Toolchain(env, compilers=("c++", "cc", _glslc() or ""))


def rocm_tools(arch: str, root: Path = Path("/")) -> Toolchain:
    """For AMD's cards: those that are here, or those that `arch` names (`gfx1100,gfx1030`).

    Raises:
        EngineSetupError: there is no card, and none was named.
    """
    targets = tuple(re.split(r"[,;\s]+", arch.strip())) if arch.strip() else kfd_targets(root)
    wrong = [name for name in targets if not _HIP_ARCH.fullmatch(name)]
    if wrong:
        raise EngineSetupError(
            f"{wrong[0]} is not an architecture of AMD", hint="name it as in --arch gfx1100,gfx1030"
        )
    if not targets:
        raise EngineSetupError(
            "no card of AMD is seen here, so its architecture is not known",
            hint="name it: --arch gfx1100 (RX 7900), gfx1030 (RX 6800), gfx1201 (RX 9070), gfx942 (MI300)",
        )
    found = rocm_root()
    assert found is not None
    env = {"XLLAMACPP_BUILD_HIP": "1", "AMDGPU_TARGETS": ";".join(targets), "ROCM_PATH": str(found)}
    env["LD_RUN_PATH"] = str(found / "lib")
    if not (found / "include/rocwmma/rocwmma.hpp").is_file():
        env["GGML_HIP_ROCWMMA_FATTN"] = "OFF"
    return Toolchain(env, targets, compilers=("c++", "cc", str(found / "bin/hipcc")))


def rocm_root() -> Path | None:
    """Where ROCm's compiler is."""
    named = [Path(value) for name in ("ROCM_PATH", "HIP_PATH") if (value := os.environ.get(name))]
    on_path = [Path(found).resolve().parent.parent for found in [shutil.which("hipcc")] if found]
    for root in (*named, *on_path, *map(Path, _ROCM_ROOTS)):
        if (root / "bin/hipcc").exists():
            return root
    return None


def kfd_targets(root: Path = Path("/")) -> tuple[str, ...]:
    """The architectures of AMD's cards, from the kernel: version 110000 is gfx1100, 90010 is gfx90a."""
    found = []
    for path in sorted((root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties")):
        number = re.search(r"^gfx_target_version (\d+)$", path.read_text(errors="replace"), re.MULTILINE)
        if number and (version := int(number[1])):
            found.append(f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}")
    return tuple(dict.fromkeys(found))


def cuda_architectures(arch: str, gpus: tuple[GPU, ...], major: int) -> tuple[str, ...]:
    """Architectures for nvcc of CUDA's version `major`: of the cards that are here, or those that `arch` names.

    `90`, `9.0`, `sm_90` and `90-real` mean the same: machine code for just this one.

    Raises:
        EngineSetupError: there is no card and none was named, or this CUDA cannot compile for it.
    """
    named = re.split(r"[,;\s]+", arch.strip()) if arch.strip() else []
    names = named or [
        f"{gpu.compute[0]}.{gpu.compute[1]}" for gpu in gpus if gpu.library == "cuda" and gpu.compute
    ]
    found = []
    for name in names:
        parts = _CUDA_ARCH.fullmatch(name)
        if parts is None:
            raise EngineSetupError(
                f"{name} is not an architecture of NVIDIA", hint="name it as in --arch 90,89"
            )
        if major >= 13 and int(parts[1] + parts[2]) < _OLDEST_OF_13:
            raise EngineSetupError(
                f"CUDA {major} cannot compile for {name}, the oldest is 7.5 (Turing)",
                hint="install a CUDA toolkit 12 (12.9 is the last), or use Vulkan: corral engine install vulkan",
            )
        found.append(f"{parts[1]}{parts[2]}{parts[3]}{parts[4] or '-real'}")
    if not found:
        raise EngineSetupError(
            "no NVIDIA card is seen here, so its architecture is not known",
            hint="name it: --arch 75 (RTX 20), 86 (RTX 30), 89 (RTX 40), 120 (RTX 50), 80 (A100), 90 (H100, H200)",
        )
    return tuple(dict.fromkeys(found))


def cuda_root() -> tuple[Path | None, str]:
    """A CUDA toolkit with all that is needed; without one, what is missing from the best there is."""
    named = [Path(value) for name in ("CUDA_PATH", "CUDA_HOME") if (value := os.environ.get(name))]
    found = shutil.which(os.environ.get("CUDACXX") or "nvcc")
    on_path = [_root_of(Path(found))] if found else []
    problem = "no nvcc found"
    for root in (*named, *on_path, *map(Path, _CUDA_ROOTS)):
        if not (root / "bin/nvcc").exists():
            continue
        if _library_folder(root) and _has_cublas_header(root):
            return root.absolute(), ""
        problem = f"the CUDA toolkit in {root} does not have cuBLAS"
    return None, problem


def _root_of(nvcc: Path) -> Path:
    """The toolkit of an nvcc, which may be a script that calls the real one."""
    text = run_tool([str(nvcc), "--dryrun", "x.cu"])
    top = re.search(r"^#\$ TOP=(.+)$", text, re.MULTILINE)
    return Path(top[1].strip()).resolve() if top else nvcc.resolve().parent.parent


def _library_folder(root: Path) -> Path | None:
    """Where a toolkit has cuBLAS for linking."""
    places = [root / "lib64", root / "lib", *root.glob("targets/*/lib"), *root.glob("lib/*-linux-gnu")]
    return next((place for place in places if (place / "libcublas.so").exists()), None)


def _has_cublas_header(root: Path) -> bool:
    return any(
        (folder / "cublas_v2.h").is_file() for folder in (root / "include", *root.glob("targets/*/include"))
    )


def cuda_version(root: Path) -> tuple[int, int]:
    """The version of a toolkit; (0, 0) if its compiler does not say."""
    found = re.search(r"release (\d+)\.(\d+)", run_tool([str(root / "bin/nvcc"), "--version"]))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def cuda_variables(root: Path, architectures: tuple[str, ...]) -> dict[str, str]:
    """Variables for a build with a toolkit."""
    folder = _library_folder(root)
    return {
        "XLLAMACPP_BUILD_CUDA": "1",
        "CUDA_ARCHITECTURES": ";".join(architectures),
        "CUDA_PATH": str(root),
        "CUDACXX": str(root / "bin/nvcc"),
        "CUDAToolkit_ROOT": str(root),
        "LD_RUN_PATH": str(folder or ""),
    }


def _glslc() -> str | None:
    sdk = os.environ.get("VULKAN_SDK")
    return shutil.which("glslc") or (shutil.which(str(Path(sdk, "bin/glslc"))) if sdk else None)


def builders_are_missing() -> bool:
    """Whether CMake or Ninja is not here, or too old; those of PyPI will do."""
    found = re.search(r"cmake version (\d+)\.(\d+)", run_tool(["cmake", "--version"]))
    return found is None or (int(found[1]), int(found[2])) < _OLDEST_CMAKE or not shutil.which("ninja")
