"""What a missing tool or library is called in the packages of this Linux distribution, and how they are installed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_COMMANDS = {
    "apt": "apt install",
    "dnf": "dnf install",
    "pacman": "pacman -S",
    "zypper": "zypper install",
    "apk": "apk add",
    "brew": "brew install",
}
_MANAGERS = ("apt", "dnf", "pacman", "zypper", "apk", "brew")
# Names in `/etc/os-release`, and the manager of the distribution or of the one that it comes from.
_FAMILIES = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "centos": "dnf",
    "arch": "pacman",
    "suse": "zypper",
    "opensuse": "zypper",
    "sles": "zypper",
    "alpine": "apk",
}
# By what is needed: the packages of each manager, in the order of `_MANAGERS`; empty: there are none.
_PACKAGES = {
    "c++": ("g++", "gcc-c++", "gcc", "gcc-c++", "g++", ""),
    "cmake": ("cmake", "cmake", "cmake", "cmake", "cmake", "cmake"),
    "ninja": ("ninja-build", "ninja-build", "ninja", "ninja", "ninja-is-really-ninja", "ninja"),
    "python": ("python3-dev", "python3-devel", "python", "python3-devel", "python3-dev", "python"),
    "glslc": ("glslc", "glslc", "shaderc", "shaderc", "shaderc", "shaderc"),
    "vulkan": (
        "libvulkan-dev",
        "vulkan-headers vulkan-loader-devel",
        "vulkan-headers vulkan-icd-loader",
        "vulkan-devel",
        "vulkan-headers vulkan-loader-dev",
        "vulkan-headers vulkan-loader",
    ),
    "spirv": (
        "spirv-headers",
        "spirv-headers-devel",
        "spirv-headers",
        "spirv-headers",
        "spirv-headers",
        "spirv-headers",
    ),
    "hip": (
        "hipcc libhipblas-dev librocblas-dev",
        "rocm-hip-devel hipblas-devel rocblas-devel",
        "rocm-hip-sdk",
        "",
        "",
        "",
    ),
    "nvcc": ("nvidia-cuda-toolkit", "", "cuda", "", "", ""),
    "libvulkan.so.1": (
        "libvulkan1 mesa-vulkan-drivers",
        "vulkan-loader mesa-vulkan-drivers",
        "vulkan-icd-loader",
        "libvulkan1",
        "vulkan-loader",
        "vulkan-loader",
    ),
    "libgomp.so.1": ("libgomp1", "libgomp", "gcc-libs", "libgomp1", "libgomp", ""),
    "libamdhip64.so": ("", "rocm-hip hipblas rocblas", "rocm-hip-runtime hipblas rocblas", "", "", ""),
}
_VENDORS = {
    "hip": "install ROCm: https://rocm.docs.amd.com",
    "libamdhip64.so": "install ROCm: https://rocm.docs.amd.com",
    "nvcc": "install the CUDA toolkit: https://developer.nvidia.com/cuda-downloads",
    "c++": "install a C++ compiler" if sys.platform != "darwin" else "install one: xcode-select --install",
}


def package_manager(root: Path = Path("/")) -> str:
    """`apt`, `dnf`, `pacman`, `zypper`, `apk`, `brew` on a Mac; empty if the distribution is not known."""
    if sys.platform == "darwin":
        return "brew"
    try:
        text = (root / "etc/os-release").read_text(errors="replace")
    except OSError:
        return ""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    for name in f"{_unquoted(values.get('ID', ''))} {_unquoted(values.get('ID_LIKE', ''))}".split():
        if manager := _FAMILIES.get(name.lower().partition("-")[0]):
            return manager
    return ""


def _unquoted(text: str) -> str:
    try:
        return " ".join(shlex.split(text))
    except ValueError:
        return text.strip("'\"")


def how_to_install(needs: list[str], root: Path = Path("/")) -> str:
    """The command that installs what is needed here, or where to find it. `needs`: see `_PACKAGES`."""
    manager = package_manager(root)
    names: list[str] = []
    others: list[str] = []
    for need in needs:
        packages = _PACKAGES[need][_MANAGERS.index(manager)] if manager else ""
        if packages:
            names += packages.split()
        else:
            others.append(_VENDORS.get(need, f"install {_PACKAGES[need][0]}"))
    command = (
        [f"install what is missing: {_COMMANDS[manager]} {' '.join(dict.fromkeys(names))}"] if names else []
    )
    return "; ".join([*command, *dict.fromkeys(others)])


def library_hint(text: str, root: Path = Path("/")) -> str:
    """What to install if an error of the loader names a library; empty if nothing is known about it."""
    for need in _PACKAGES:
        if ".so" in need and need in text:
            return how_to_install([need], root)
    if "libcuda.so" in text:
        return "install the NVIDIA driver"
    return ""
