"""What the programs that Corral starts learn of its environment: what libraries and drivers need, and no secret.

The engine reads model files that strangers made: tokens, cloud keys and proxies with passwords stay out of its reach.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

# How to load libraries, and what time it is.
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
# Of the engine's backends and their drivers: ggml, OpenMP and BLAS, CUDA, ROCm, Vulkan, SYCL, OpenCL, Metal.
_ENGINE = (
    *("GGML_*", "LLAMA_*"),
    *("OMP_*", "GOMP_*", "KMP_*", "OPENBLAS_*", "BLIS_*", "MKL_*", "VECLIB_*"),
    *("CUDA_*", "NVIDIA_*", "NCCL_*"),
    *("HIP_*", "ROCR_*", "ROCM_*", "HSA_*", "AMD_*", "GPU_*"),
    *("VK_*", "VULKAN_*", "MESA_*", "RADV_*", "DRI_PRIME"),
    *("SYCL_*", "ONEAPI_*", "ZE_*", "ZES_*", "UR_*", "OCL_*", "OPENCL_*"),
    *("MTL_*", "METAL_*"),
)
# The command line of a llama-server can be written as variables: they would contradict ours.
_NEVER = ("LLAMA_ARG_*", "LLAMA_API_KEY", "LLAMA_CACHE", "AIP_*")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)


def child_environment(wanted: Sequence[str] = (), env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of an engine, of a process that converts weights, or of a tool that asks a driver.

    `wanted`: names of further variables, or patterns such as `FOO_*`, that somebody wants them to have.
    """
    return {
        name: value
        for name, value in env.items()
        if _matches(name, wanted)
        or (_matches(name, (*_SYSTEM, *_ENGINE)) and not _matches(name, _NEVER) and not _SECRET.search(name))
    }


def worker_environment(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a process that runs code of ours only."""
    return {name: env[name] for name in _LIBRARIES if name in env}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
