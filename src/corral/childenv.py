"""The environment of programs that Corral starts: what libraries and drivers need, and no secrets.

The engine reads untrusted model files, so tokens, cloud keys and proxies with passwords are kept from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

# Loading of libraries, and the time zone.
_LIBRARIES = ("TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "SYSTEMROOT")
_SYSTEM = (
    *_LIBRARIES,
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TMPDIR",
    "TMP",
    "TEMP",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "LD_PRELOAD",
    "DYLD_INSERT_LIBRARIES",
    "GLIBC_TUNABLES",
    "MALLOC_*",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONUSERBASE",
    "PYTHONNOUSERSITE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "VIRTUAL_ENV",
)
# Variables of the engine's backends and their drivers: ggml, OpenMP and BLAS, CUDA, ROCm, Vulkan, SYCL, OpenCL,
# Metal.
_ENGINE = (
    *("GGML_*", "LLAMA_*"),
    *("OMP_*", "GOMP_*", "KMP_*", "OPENBLAS_*", "BLIS_*", "MKL_*", "VECLIB_*"),
    *("CUDA_*", "NVIDIA_*", "NCCL_*"),
    *("HIP_*", "ROCR_*", "ROCM_*", "HSA_*", "AMD_*", "GPU_*"),
    *("VK_*", "VULKAN_*", "MESA_*", "RADV_*", "DRI_PRIME"),
    *("SYCL_*", "ONEAPI_*", "ZE_*", "ZES_*", "UR_*", "OCL_*", "OPENCL_*"),
    *("MTL_*", "METAL_*"),
)
# llama-server's options can be set by variables, which would contradict our command line.
_NEVER = ("LLAMA_ARG_*", "LLAMA_API_KEY", "LLAMA_CACHE", "AIP_*")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)


def child_environment(wanted: Sequence[str] = (), env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of an engine, of a process that converts weights, or of a tool that asks a driver.

    `wanted`: names of further variables, or patterns such as `FOO_*`.
    """
    return {
        name: value
        for name, value in env.items()
        if _matches(name, wanted)
        or (_matches(name, (*_SYSTEM, *_ENGINE)) and not _matches(name, _NEVER) and not _SECRET.search(name))
    }


def worker_environment(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a process that only runs Corral's own code."""
    return {name: env[name] for name in _LIBRARIES if name in env}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
