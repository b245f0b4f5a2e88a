"""LFM 2: the norm of the embeddings under another name, and a wrong width of the feed-forward layer."""

from __future__ import annotations

from corral.weights.translate.translated_file import TranslatedFile


def text(view: TranslatedFile) -> bool:
    if "output_norm.weight" not in view.tensors or "token_embd_norm.weight" in view.tensors:
        return False
    view.put("tokenizer.ggml.pre", "lfm2", "string")
    if "blk.0.ffn_gate.weight" in view.tensors:
        width = view.rows("blk.0.ffn_gate.weight")
        if view.own("feed_forward_length") != width:
            view.put(f"{view.architecture}.feed_forward_length", width, "uint32")
    view.rename([("output_norm", "token_embd_norm")])
    return True
