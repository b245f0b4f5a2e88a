"""Headers of Vulkan that are too old for the engine's source, and what makes up for it.

The source (b11549) needs one thing that came with 1.3.272, an extension for its debugging. Debian 12 has 1.3.239. So
the header that includes the machine's own adds the few types. What the cards can do does not depend on it: that is
asked of the driver when the engine runs, and of glslc when it is compiled.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from corral.runner.engines.compilers import header_macros
from corral.runner.engines.folders import EngineSetupError

HEADER = "vulkan/vulkan.h"
_NEWEST_EXTENSION = "VK_EXT_layer_settings"
# The oldest with which the whole source has been compiled.
_OLDEST = 239
# Structures and numbers are those of the Vulkan specification.
_ADDITION = """\
#pragma once
#pragma GCC system_header
#include_next <vulkan/vulkan.hpp>
#include <vector>

namespace VULKAN_HPP_NAMESPACE {
enum class LayerSettingTypeEXT { eBool32 = 0 };

struct LayerSettingEXT {
    const char * pLayerName;
    const char * pSettingName;
    LayerSettingTypeEXT type;
    uint32_t valueCount;
    const void * pValues;
};

struct LayerSettingsCreateInfoEXT {
    explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> & settings)
        : settingCount(static_cast<uint32_t>(settings.size())), pSettings(settings.data()) {}

    StructureType sType = static_cast<StructureType>(1000496000);
    const void * pNext = nullptr;
    uint32_t settingCount;
    const LayerSettingEXT * pSettings;
};
}
"""


def check_headers() -> None:
    """Refuse headers that are too old; the compiler would only say so after all shaders are made.

    Raises:
        EngineSetupError
    """
    text = header_macros(HEADER)
    version = _version(text)
    if _NEWEST_EXTENSION not in text and version < _OLDEST:
        raise EngineSetupError(
            f"the headers of Vulkan are too old ({version or 'unknown'}, {_OLDEST} or newer is needed)",
            hint="install the Vulkan SDK (https://vulkan.lunarg.com/sdk/home) and set VULKAN_SDK to its folder, "
            "or take the ready-made engine: corral engine install vulkan",
        )


def _version(macros: str) -> int:
    """The last part of 1.3.239, which goes on counting when the others change."""
    found = re.search(r"#define VK_HEADER_VERSION (\d+)", macros)
    return int(found[1]) if found else 0


def header_variables(folder: Path) -> dict[str, str]:
    """Variables for a build, with what the machine's headers lack put below a folder; none if they lack nothing."""
    if _NEWEST_EXTENSION in header_macros(HEADER):
        return {}
    path = folder / "include/vulkan/vulkan.hpp"
    if not path.is_file() or path.read_text() != _ADDITION:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_ADDITION)
    # Before the folders of the machine and of CMake.
    return {"CPATH": os.pathsep.join(filter(None, [str(folder / "include"), os.environ.get("CPATH")]))}
