"""The family for each architecture (`architectures[0]` of config.json)."""

from __future__ import annotations

from corral.errors import ConversionError, UnsupportedArchitectureError
from corral.weights.convert.families.bert import Bert, Roberta
from corral.weights.convert.families.command_r import CommandR, CommandR7B
from corral.weights.convert.families.family import Family
from corral.weights.convert.families.gemma import Gemma, Gemma2, Gemma3
from corral.weights.convert.families.granite import Granite
from corral.weights.convert.families.llama import Llama
from corral.weights.convert.families.mixtral import Mixtral
from corral.weights.convert.families.modern_bert import ModernBert
from corral.weights.convert.families.nomic_bert import NomicBert
from corral.weights.convert.families.olmo2 import Olmo2
from corral.weights.convert.families.phi3 import Phi3
from corral.weights.convert.families.qwen import Qwen2, Qwen3
from corral.weights.convert.families.qwen_moe import Qwen2Moe, Qwen3Moe
from corral.weights.convert.families.stablelm import StableLm

FAMILIES: dict[str, type[Family]] = {
    "BertForMaskedLM": Bert,
    "BertForSequenceClassification": Bert,
    "BertModel": Bert,
    "CamembertForMaskedLM": Roberta,
    "CamembertForSequenceClassification": Roberta,
    "CamembertModel": Roberta,
    "Cohere2ForCausalLM": CommandR7B,
    "CohereForCausalLM": CommandR,
    "Gemma2ForCausalLM": Gemma2,
    "Gemma3ForCausalLM": Gemma3,
    "Gemma3ForConditionalGeneration": Gemma3,
    "GemmaForCausalLM": Gemma,
    "GraniteForCausalLM": Granite,
    "LlamaForCausalLM": Llama,
    "MistralForCausalLM": Llama,
    "MixtralForCausalLM": Mixtral,
    "ModernBertForMaskedLM": ModernBert,
    "ModernBertForSequenceClassification": ModernBert,
    "ModernBertModel": ModernBert,
    "NomicBertModel": NomicBert,
    "Olmo2ForCausalLM": Olmo2,
    "Phi3ForCausalLM": Phi3,
    "Qwen2ForCausalLM": Qwen2,
    "Qwen2MoeForCausalLM": Qwen2Moe,
    "Qwen3ForCausalLM": Qwen3,
    "Qwen3MoeForCausalLM": Qwen3Moe,
    "RobertaForMaskedLM": Roberta,
    "RobertaForSequenceClassification": Roberta,
    "RobertaModel": Roberta,
    "StableLMEpochForCausalLM": StableLm,
    "StableLmForCausalLM": StableLm,
    "XLMRobertaForMaskedLM": Roberta,
    "XLMRobertaForSequenceClassification": Roberta,
    "XLMRobertaModel": Roberta,
}


def known_architectures() -> tuple[str, ...]:
    """Names of all architectures that can be converted."""
    return tuple(sorted(FAMILIES))


def find_family(architectures: object) -> tuple[str, type[Family]]:
    """The family for `architectures` of a config.json.

    Raises:
        ConversionError: it names none.
        UnsupportedArchitectureError
    """
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise ConversionError("unknown architecture: config.json names none")
    name = architectures[0]
    family = FAMILIES.get(name)
    if family is None:
        raise UnsupportedArchitectureError(name[:200], known_architectures())
    return name, family
