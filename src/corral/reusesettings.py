"""Settings about what an engine need not compute: prompts that it has, and tokens that it can guess."""

from __future__ import annotations

from corral import settingvalues as values
from corral.setting import Setting

REUSE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "CORRAL_CACHE_RAM",
        "engine.cache_ram_mib",
        "cache_ram_mib",
        values.maybe_number,
        "auto",
        "RAM, in MiB, for prompts that no slot of an engine holds any more (0: none; automatic: at most 8192, a "
        "quarter of the free memory, and twice the model's KV cache)",
    ),
    Setting(
        "CORRAL_SPECULATION",
        "engine.speculation",
        "speculation",
        values.auto_on_off,
        "auto",
        "Guess tokens ahead, and verify several in one step (`on`, `off`; automatic: with a model's draft model, "
        "on a GPU with its own heads, on a CPU from what came before, as long as it pays)",
    ),
    Setting(
        "CORRAL_PROMPT_SLOWDOWN",
        "engine.prompt_slowdown",
        "prompt_slowdown",
        values.times,
        "3",
        "How many times as long a long prompt may take so that the streams of others go on evenly: it is then "
        "computed in small steps (1: in large ones at once)",
    ),
    Setting(
        "CORRAL_PROMPT_STATES",
        "engine.prompt_states_mib",
        "prompt_states_mib",
        values.maybe_number,
        "auto",
        "Disk space, in MiB, for computed prompts of unloaded models, which need not be computed again (0: none; "
        "automatic: at most 4096, and a twentieth of the free space)",
    ),
)
