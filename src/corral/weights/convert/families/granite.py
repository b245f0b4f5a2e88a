"""IBM Granite 3: Llama with four multipliers."""

from __future__ import annotations

from corral.weights.convert.families.llama import Llama
from corral.weights.convert.output import Output


class Granite(Llama):
    gguf_arch = "granite"

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        for name, key in (
            ("attention_multiplier", ".attention.scale"),
            ("embedding_multiplier", ".embedding_scale"),
            ("residual_multiplier", ".residual_scale"),
            ("logits_scaling", ".logit_scale"),
        ):
            out.set_float(key, self.config.number(name, default=1.0))
