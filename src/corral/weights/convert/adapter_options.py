"""The options in adapter_config.json: the strength of each module, and options that the engine does not support.

PEFT: tuners/lora/config.py and layer.py, utils/other.py get_pattern_key. MLX: mlx_lm/tuner/lora.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from corral.errors import ConversionError
from corral.weights.convert.config import Config

_FILE = "adapter_config.json"
# Option -> why an adapter that uses it is refused.
_REFUSED = {
    "use_dora": "DoRA scales the base model's weights, which the engine's adapters cannot do",
    "use_qalora": "QA-LoRA pools the inputs in groups, which the engine does not support",
    "use_bdlora": "the engine does not support block-diagonal LoRA",
    "lora_bias": "the engine's adapters cannot have biases",
    "layer_replication": "it repeats layers of the base model, so it belongs to another model than the base",
    "alora_invocation_tokens": "it is only active after certain tokens, but the engine would apply it everywhere",
    "trainable_token_indices": "it changes single rows of the embedding; merge it into the base model first",
    "arrow_config": "it mixes several adapters depending on the input, which the engine does not support",
    "megatron_config": "it was trained on Megatron's split layers",
    "kasa_config": "it changes the base model's weights; merge it into the base model first",
}
# Initialisations that change the base model's weights: such an adapter is wrong on the original base. PEFT can
# convert it when it is saved (`path_initial_model_for_weight_conversion`).
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_MAX_PATTERNS = 4096
_MAX_PATTERN_CHARS = 512
# Quantifiers in regular expressions; nested ones can take forever.
_REPEAT = re.compile(r"[*+{]")
_MAX_REPEATS = 4


class AdapterOptions:
    """The validated options of one adapter."""

    def __init__(self, config: Config) -> None:
        _check(config)
        self.saved_modules = tuple(config.texts("modules_to_save") or ())
        self._alpha, self._scale = _strength(config)
        self._rank = config.integer("r", "rank", default=8)
        self._is_root = config.boolean("use_rslora", default=False)
        self._alphas = _patterns(config, "alpha_pattern")
        self._ranks = _patterns(config, "rank_pattern")

    def scale(self, module: str, rank: int) -> float:
        """The factor of B A for a module, by its name in the base model; `rank` is the rank of its matrices.

        Raises:
            ConversionError: its rank in the configuration is different.
        """
        if self._scale is not None:
            return self._scale
        expected = _by_pattern(self._ranks, module)
        if expected is not None and expected != rank:
            raise ConversionError(
                f'{_FILE}: rank_pattern gives "{module[:200]}" the rank {expected:.0f}, its matrices have {rank}'
            )
        alpha = _by_pattern(self._alphas, module)
        alpha = self._alpha if alpha is None else alpha
        return alpha / (math.sqrt(rank) if self._is_root else rank)


def _check(config: Config) -> None:
    """Refuse options that the engine's adapters do not support."""
    kind = config.text("peft_type", default="LORA")
    tuning = config.text("fine_tune_type", default="lora")  # MLX
    for text in (kind, tuning):
        if text.upper() != "LORA":
            raise ConversionError(f"{_FILE}: adapters of type {text[:40]} cannot be converted, only LORA")
    for name, reason in _REFUSED.items():
        if config.values.get(name):
            raise ConversionError(f"{_FILE}: {name} cannot be converted: {reason}")
    start = config.values.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise ConversionError(
            f"{_FILE}: init_lora_weights {start[:40]!r} changed the base model's weights: save the adapter with "
            "path_initial_model_for_weight_conversion, or merge it into its base model"
        )
    unknown = [name for name, value in config.values.items() if name.startswith("use_") and value is True]
    if odd := [name for name in unknown if name != "use_rslora"]:
        raise ConversionError(
            f"{_FILE}: {odd[0][:60]} is an unknown option, and without it the adapter might be wrong"
        )


def _strength(config: Config) -> tuple[float, float | None]:
    """Alpha, and the factor itself if given (MLX: `scale`, in old versions times alpha over rank)."""
    section = config.section("lora_parameters")
    if section is not None and section.has("scale"):
        scale = section.number("scale")
        if section.has("alpha") and section.has("rank"):
            scale *= section.number("alpha") / section.integer("rank")
        return 0.0, scale
    if section is not None and section.has("alpha"):
        return section.number("alpha"), None
    return config.number("lora_alpha", "alpha", default=8.0), None


def _patterns(config: Config, name: str) -> list[tuple[re.Pattern[str], float]]:
    """Patterns of module names with their numbers, in PEFT's order: the first match is used.

    Raises:
        ConversionError: an invalid pattern, or one that could take too long.
    """
    section = config.section(name)
    if section is None:
        return []
    if len(section.values) > _MAX_PATTERNS:
        raise ConversionError(f"{_FILE}: {name} has more entries than any model has modules")
    found = []
    for text in section.values:
        if (
            len(text) > _MAX_PATTERN_CHARS
            or len(_REPEAT.findall(text)) > _MAX_REPEATS
            or re.search(r"\)[*+{]", text)
        ):
            raise ConversionError(f"{_FILE}: {name} has a pattern that is too complex: {text[:60]!r}")
        try:
            pattern = re.compile(rf"(.*\.)?({text})$")
        except re.error as exc:
            raise ConversionError(f"{_FILE}: {name} has an invalid pattern: {text[:60]!r} ({exc})") from None
        found.append((pattern, section.number(text)))
    return found


def _by_pattern(patterns: Iterable[tuple[re.Pattern[str], float]], module: str) -> float | None:
    return next((value for pattern, value in patterns if pattern.match(module)), None)
