"""Settings that reach an engine as variables of its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from corral.childenv import child_environment
from corral.config import Settings

_NO_CUDA = {"CUDA_VISIBLE_DEVICES": "-1"}
_NO_ROCM = {"ROCR_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}
_NO_VULKAN = {"GGML_VK_VISIBLE_DEVICES": ""}
_HIDDEN = {
    "cuda": {**_NO_ROCM, **_NO_VULKAN},
    "rocm": {**_NO_CUDA, **_NO_VULKAN},
    "vulkan": {**_NO_CUDA, **_NO_ROCM},
}


def engine_variables(settings: Settings, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the engine gets beside what all child processes do."""
    common = child_environment((), env)
    own = child_environment(settings.engine_env, env)
    found = {name: value for name, value in own.items() if name not in common}
    if not settings.uses_vulkan:
        found |= _NO_VULKAN
    backend = settings.llm_library.partition("_")[0]
    if backend == "cpu":
        found |= {**_NO_CUDA, **_NO_ROCM, **_NO_VULKAN}
    else:
        found |= _HIDDEN.get(backend, {})
    if settings.library_path:
        name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
        folders = [settings.library_path, *filter(None, [env.get(name)])]
        found[name] = os.pathsep.join(folders)
    return found
