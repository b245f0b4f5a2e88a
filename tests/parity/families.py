"""Tiny models with random weights, one for each family, as their users would find them in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from tokenizers import normalizers, processors

from tests.parity import tokenizers_zoo as zoo

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


@dataclass(frozen=True)
class Case:
    """`config` and `model` are names of transformers classes; `special` names special tokens.

    `sentencepiece` is a tokenizer.model to put into the folder; `hides_json` keeps tokenizer.json from the converter.
    """

    config: str
    model: str
    tokenizer: Callable[[], Tokenizer]
    settings: Mapping[str, Any] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)
    sentencepiece: Callable[[], bytes] | None = None
    hides_json: bool = False

    def save(self, folder: Path) -> Any:
        """Make the model and write its folder; returns the model, in evaluation mode."""
        tokenizer = self.tokenizer()
        settings = {**SMALL, **self.settings, "vocab_size": tokenizer.get_vocab_size()}
        for name in ("bos", "eos", "pad"):
            text = self.special.get(f"{name}_token")
            settings.setdefault(f"{name}_token_id", tokenizer.token_to_id(text) if text else None)
        config = getattr(transformers, self.config)(**settings)
        torch.manual_seed(7)
        model = getattr(transformers, self.model)(config).eval().float()
        randomize(model)
        model.save_pretrained(folder)
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **self.special)
        fast.save_pretrained(folder)
        if self.sentencepiece is not None:
            (folder / "tokenizer.model").write_bytes(self.sentencepiece())
        return model

    def files(self, folder: Path) -> dict[str, Path]:
        """What a converter is given of the folder."""
        found = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
        if self.hides_json:
            del found["tokenizer.json"]
        return found


def randomize(model: Any) -> None:
    """Weights that matter: norms away from 1, biases away from 0, logits of a few units."""
    generator = torch.Generator().manual_seed(11)
    for name, values in model.named_parameters():
        noise = torch.randn(values.shape, generator=generator)
        with torch.no_grad():
            if values.ndim == 1:
                values.add_(noise * 0.2)
            elif "embed" in name or "lm_head" in name:
                values.copy_(noise * 0.5)
            else:
                values.copy_(noise * 0.15)


BYTE_SPECIAL = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
SP_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def llama3_tokenizer() -> Tokenizer:
    return zoo.surrounded(zoo.byte_level(zoo.LLAMA3, ignore_merges=True), "<|begin|>")


def sp_tokenizer(*, prefix: bool) -> Callable[[], Tokenizer]:
    return lambda: zoo.surrounded(zoo.sentencepiece_bpe(prefix=prefix), "<s>")


def normalized(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

DECODERS: dict[str, Case] = {
    "llama2": Case("LlamaConfig", "LlamaForCausalLM", sp_tokenizer(prefix=True), special=SP_SPECIAL),
    "llama2-both-tokenizers": Case(
        "LlamaConfig",
        "LlamaForCausalLM",
        sp_tokenizer(prefix=True),
        special=SP_SPECIAL,
        sentencepiece=lambda: zoo.sentencepiece_model("bpe", prefix=True),
    ),
    "gemma-tokenizer.model": Case(
        "GemmaConfig",
        "GemmaForCausalLM",
        sp_tokenizer(prefix=False),
        {"head_dim": 32},
        SP_SPECIAL,
        sentencepiece=lambda: zoo.sentencepiece_model("bpe", prefix=False),
        hides_json=True,
    ),
    "llama3.1": Case(
        "LlamaConfig",
        "LlamaForCausalLM",
        llama3_tokenizer,
        {"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True, "head_dim": 32},
        BYTE_SPECIAL,
    ),
    "mistral-nemo": Case(
        "MistralConfig",
        "MistralForCausalLM",
        lambda: zoo.surrounded(zoo.byte_level(zoo.TEKKEN, ignore_merges=True), "<|begin|>"),
        {"sliding_window": None},
        BYTE_SPECIAL,
    ),
    "mixtral": Case(
        "MixtralConfig",
        "MixtralForCausalLM",
        sp_tokenizer(prefix=True),
        {"num_local_experts": 4, "num_experts_per_tok": 2},
        SP_SPECIAL,
    ),
    "qwen2": Case(
        "Qwen2Config",
        "Qwen2ForCausalLM",
        lambda: normalized(zoo.byte_level(zoo.QWEN2)),
        special={"eos_token": "<|end|>"},
    ),
    "qwen2-yarn": Case(
        "Qwen2Config",
        "Qwen2ForCausalLM",
        lambda: normalized(zoo.byte_level(zoo.QWEN2)),
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
        {"eos_token": "<|end|>"},
    ),
    "qwen2-moe": Case(
        "Qwen2MoeConfig",
        "Qwen2MoeForCausalLM",
        lambda: normalized(zoo.byte_level(zoo.QWEN2)),
        {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 48,
            "norm_topk_prob": False,
        },
        {"eos_token": "<|end|>"},
    ),
    "qwen3": Case(
        "Qwen3Config",
        "Qwen3ForCausalLM",
        lambda: normalized(zoo.byte_level(zoo.QWEN2)),
        {"head_dim": 32, "tie_word_embeddings": True},
        {"eos_token": "<|end|>"},
    ),
    "qwen3-moe": Case(
        "Qwen3MoeConfig",
        "Qwen3MoeForCausalLM",
        lambda: normalized(zoo.byte_level(zoo.QWEN2)),
        {
            "head_dim": 32,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
        },
        {"eos_token": "<|end|>"},
    ),
    "gemma": Case(
        "GemmaConfig", "GemmaForCausalLM", sp_tokenizer(prefix=False), {"head_dim": 32}, SP_SPECIAL
    ),
    "gemma2": Case(
        "Gemma2Config",
        "Gemma2ForCausalLM",
        sp_tokenizer(prefix=False),
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8},
        SP_SPECIAL,
    ),
    "gemma3": Case(
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        sp_tokenizer(prefix=False),
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8, "num_hidden_layers": 7},
        SP_SPECIAL,
    ),
    "phi3": Case(
        "Phi3Config",
        "Phi3ForCausalLM",
        sp_tokenizer(prefix=True),
        {"original_max_position_embeddings": 256, "sliding_window": None},
        SP_SPECIAL,
    ),
    "phi4-mini": Case(
        "Phi3Config",
        "Phi3ForCausalLM",
        lambda: zoo.byte_level(zoo.GPT4O),
        {
            "original_max_position_embeddings": 256,
            "max_position_embeddings": 512,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "partial_rotary_factor": 0.75,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10_000.0,
                "partial_rotary_factor": 0.75,
                "original_max_position_embeddings": 256,
                "long_factor": [1.0 + 0.5 * pair for pair in range(6)],
                "short_factor": [1.0 + 0.1 * pair for pair in range(6)],
            },
        },
        BYTE_SPECIAL,
    ),
    "phi4": Case(
        "Phi3Config",
        "Phi3ForCausalLM",
        lambda: zoo.byte_level(zoo.LLAMA3),
        {"original_max_position_embeddings": 256, "sliding_window": None},
        BYTE_SPECIAL,
    ),
    "granite": Case(
        "GraniteConfig",
        "GraniteForCausalLM",
        lambda: zoo.byte_level(None, digits=True),
        {
            "attention_multiplier": 0.2,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.0,
            "tie_word_embeddings": True,
        },
        BYTE_SPECIAL,
    ),
    "olmo2": Case(
        "Olmo2Config", "Olmo2ForCausalLM", lambda: zoo.byte_level(zoo.LLAMA3), special=BYTE_SPECIAL
    ),
    "stablelm2": Case(
        "StableLmConfig",
        "StableLmForCausalLM",
        lambda: zoo.byte_level(zoo.QWEN2),
        {"use_qkv_bias": True, "partial_rotary_factor": 0.25},
        BYTE_SPECIAL,
    ),
    "stablelm2-12b": Case(
        "StableLmConfig",
        "StableLmForCausalLM",
        lambda: zoo.byte_level(zoo.QWEN2),
        {"qk_layernorm": True, "use_parallel_residual": True, "partial_rotary_factor": 0.25},
        BYTE_SPECIAL,
    ),
    "command-r": Case(
        "CohereConfig",
        "CohereForCausalLM",
        lambda: zoo.surrounded(zoo.byte_level(None, digits=True), "<|begin|>"),
        {"logit_scale": 0.5},
        BYTE_SPECIAL,
    ),
    "command-r7b": Case(
        "Cohere2Config",
        "Cohere2ForCausalLM",
        lambda: zoo.surrounded(zoo.byte_level(None, digits=True), "<|begin|>"),
        {"logit_scale": 0.5, "sliding_window": 8, "num_hidden_layers": 4},
        BYTE_SPECIAL,
    ),
}

BERT_SPECIAL = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}
XLM_SPECIAL = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def roberta_tokenizer() -> Tokenizer:
    tokenizer = zoo.byte_level(None)
    last, first = zoo.token(tokenizer, "<|end|>"), zoo.token(tokenizer, "<|begin|>")
    tokenizer.post_processor = processors.RobertaProcessing(last, first, add_prefix_space=False)
    return tokenizer


ROBERTA_SPECIAL = {
    **BYTE_SPECIAL,
    "cls_token": "<|begin|>",
    "sep_token": "<|end|>",
    "pad_token": "<|turn|>",
}


def uncased() -> Tokenizer:
    return zoo.word_piece(lowercase=True)


# RoBERTa's positions begin behind the padding token's id.
POSITIONS = {"pad_token_id": 1, "max_position_embeddings": 258}

# Name -> case, and the folder's pooling ("" for a plain model).
ENCODERS: dict[str, tuple[Case, str]] = {
    "bert": (Case("BertConfig", "BertModel", uncased, special=BERT_SPECIAL), "mean"),
    "bert-cased": (
        Case("BertConfig", "BertModel", lambda: zoo.word_piece(lowercase=False), special=BERT_SPECIAL),
        "cls",
    ),
    "bert-mlm": (Case("BertConfig", "BertForMaskedLM", uncased, special=BERT_SPECIAL), ""),
    "roberta": (
        Case("RobertaConfig", "RobertaModel", roberta_tokenizer, POSITIONS, ROBERTA_SPECIAL),
        "mean",
    ),
    "xlm-r": (Case("XLMRobertaConfig", "XLMRobertaModel", zoo.unigram, POSITIONS, XLM_SPECIAL), "cls"),
    "nomic-bert": (
        Case("NomicBertConfig", "NomicBertModel", uncased, {"type_vocab_size": 2}, BERT_SPECIAL),
        "mean",
    ),
    "modern-bert": (
        Case(
            "ModernBertConfig",
            "ModernBertModel",
            lambda: zoo.surrounded(zoo.byte_level(None), "<|begin|>", "<|end|>"),
            {"local_attention": 8, "num_hidden_layers": 7},
            ROBERTA_SPECIAL,
        ),
        "mean",
    ),
    "qwen3-embedding": (
        Case(
            "Qwen3Config",
            "Qwen3ForCausalLM",
            lambda: with_end(normalized(zoo.byte_level(zoo.QWEN2))),
            {"head_dim": 32},
            {"eos_token": "<|end|>"},
        ),
        "lasttoken",
    ),
}
ONE_LABEL = {"num_labels": 1}
RERANKERS: dict[str, Case] = {
    "bert": Case("BertConfig", "BertForSequenceClassification", uncased, ONE_LABEL, BERT_SPECIAL),
    "bert-3-labels": Case(
        "BertConfig", "BertForSequenceClassification", uncased, {"num_labels": 3}, BERT_SPECIAL
    ),
    "xlm-r": Case(
        "XLMRobertaConfig",
        "XLMRobertaForSequenceClassification",
        zoo.unigram,
        {**POSITIONS, **ONE_LABEL},
        XLM_SPECIAL,
    ),
    "roberta": Case(
        "RobertaConfig",
        "RobertaForSequenceClassification",
        roberta_tokenizer,
        {**POSITIONS, **ONE_LABEL},
        ROBERTA_SPECIAL,
    ),
    "modern-bert": Case(
        "ModernBertConfig",
        "ModernBertForSequenceClassification",
        lambda: zoo.surrounded(zoo.byte_level(None), "<|begin|>", "<|end|>"),
        {"local_attention": 8, "num_hidden_layers": 4, "classifier_pooling": "mean", **ONE_LABEL},
        ROBERTA_SPECIAL,
    ),
}


def with_end(tokenizer: Tokenizer) -> Tokenizer:
    """With a last token after each text, as Qwen3-Embedding has it."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|end|>",
        pair="$A $B <|end|>",
        special_tokens=[("<|end|>", tokenizer.token_to_id("<|end|>"))],
    )
    return tokenizer
