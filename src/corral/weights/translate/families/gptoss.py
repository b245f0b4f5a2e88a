"""gpt-oss as first published: other names of the architecture and of three kinds of tensors."""

from __future__ import annotations

import re

from corral.weights.translate.translated_file import TranslatedFile

_OLD = (
    (re.compile(r"\.attn_out(?=\.)"), ".attn_output"),
    (re.compile(r"\.attn_sinks$"), ".attn_sinks.weight"),
    (re.compile(r"\.ffn_norm(?=\.)"), ".post_attention_norm"),
)


def text(view: TranslatedFile) -> bool:
    view.copy_prefix("gpt-oss")
    view.inject("gpt-oss.expert_feed_forward_length", view.rows("blk.0.ffn_gate_exps.weight"), "uint32")
    view.inject("gpt-oss.rope.scaling.type", "yarn", "string")
    view.put("tokenizer.ggml.pre", "gpt-4o", "string")

    def renamed(name: str) -> str:
        for pattern, new in _OLD:
            name = pattern.sub(new, name, count=1)
        return name

    view.map_names(renamed)
    return True
