"""GLM 4 MoE Lite: in llama.cpp it is DeepSeek 2 with compressed attention."""

from __future__ import annotations

from corral.weights.translate.translated_file import TranslatedFile


def text(view: TranslatedFile) -> bool:
    rank = view.own_number("attention.kv_lora_rank")
    head = view.own_number("attention.key_length")
    view.copy_prefix("deepseek2")
    view.put("deepseek2.attention.head_count_kv", 1, "uint32")
    view.put("deepseek2.attention.key_length", rank + view.own_number("rope.dimension_count"), "uint32")
    view.put("deepseek2.attention.value_length", rank, "uint32")
    for leaf in ("key_length_mla", "value_length_mla"):
        view.put(f"deepseek2.attention.{leaf}", head, "uint32")
    for leaf in ("expert_group_count", "expert_group_used_count"):
        view.inject(f"deepseek2.{leaf}", 1, "uint32")
    view.put("tokenizer.ggml.pre", "glm4", "string")
    ends = view.get("tokenizer.ggml.eos_token_ids")
    for index, kind in ((1, "eot"), (2, "eom")):
        if isinstance(ends, list) and len(ends) > index:
            view.inject(f"tokenizer.ggml.{kind}_token_id", ends[index], "uint32")
    return True
