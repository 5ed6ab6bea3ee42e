"""A tiny random model of (nearly) every causal architecture that transformers knows, made from shrunken defaults.

A configuration class names its sizes in its own words; `SIZES` holds the usual ones, `SPECIAL` what single
architectures need besides to hold together.
"""

import inspect
from typing import Any

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

NAMES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "word_embed_proj_dim", "embedding_size"), 32),
    **dict.fromkeys(("emb_dim", "rotary_dim", "attention_hidden_size", "lru_width"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "d_ff", "moe_intermediate_size", "dim_ff"), 48),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "shared_expert_intermediate_size", "dff"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "num_attention_groups"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(("head_dim", "attention_head_dim", "kv_channels", "attention_head_size"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "n_ctx"), 512),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "num_experts_per_token"), 2),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "qk_head_dim": 16,
    "sliding_window": 16,
    "attention_chunk_size": 16,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "mamba_d_state": 8,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_num_heads": 8,
    "mamba_head_dim": 8,
    "mamba_n_groups": 1,
    "n_groups": 1,
    "state_size": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "vocab_size_per_layer_input": 300,
    "hidden_size_per_layer_input": 8,
    "is_decoder": True,
    "initializer_range": 0.2,
}
"""Small values of the usual names."""

TEXT = ("text_config", "llm_config", "decoder", "language_config")
"""Where composite configurations keep that of their language model."""

MLA = {"head_dim": 8, "num_key_value_heads": 4, "qk_head_dim": 16}
"""Multi-head latent attention: `head_dim` is that of the rotary part, and all heads have keys of their own."""

SPECIAL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite"), MLA),
    **dict.fromkeys(("glm_moe_dsa", "longcat_flash", "minicpm3", "sarvam_mla", "youtu"), MLA),
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "codegen": {"rotary_dim": 4},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 16, "num_layers": 4},
    "reformer": {"axial_pos_embds": False, "attn_layers": ["local"] * 4, "local_attn_chunk_length": 512},
    "falcon": {"alibi": False},
    "prophetnet": {"num_hidden_layers": None, "num_decoder_layers": 2, "num_encoder_layers": 2},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2},
    "xmod": {"default_language": "en_XX"},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "roc_bert": {"pronunciation_vocab_size": 300, "shape_vocab_size": 300},
    "cohere_compass_text": {"layer_types": ["sliding_attention", "full_attention"] * 2},
    "gemma3n_text": {"num_kv_shared_layers": 0, "layer_types": ["sliding_attention", "full_attention"] * 2},
}
"""What single architectures need besides; None leaves a name out."""


MISSING = (
    *("blt", "cohere_compass_text", "dbrx", "dots3_note", "dots3_note_text", "falcon_h1", "fuyu", "gemma3", "gemma3n"),
    *("gemma4_assistant", "gemma4_unified_assistant", "git", "got_ocr2", "kimi_linear", "moss_transcribe_diarize"),
    *("inkling2_loop_text", "inkling2_text", "inkling_text"),
    *("musicgen", "musicgen_melody", "phi4_multimodal", "qwen4_exp", "qwen4_exp_text", "zamba", "zamba2", "zaya"),
)
"""Without a tiny configuration: their defaults do not shrink by these names."""

REFUSED = ("cpmant", "prophetnet", "xlm", "xlnet")
"""No causal language models: later tokens change what is computed for earlier ones."""


def tiny_config(name: str, vocabulary: int) -> Any:
    """A configuration of a few thousand weights. Raises whatever the class raises for sizes that do not fit."""
    kind = CONFIG_MAPPING[name]
    sub = next((kind.sub_configs[key] for key in TEXT if key in getattr(kind, "sub_configs", {})), None)
    if sub is not None and hasattr(sub, "model_type") and sub.model_type in CONFIG_MAPPING:
        key = next(key for key in TEXT if key in kind.sub_configs)
        return kind(**{key: tiny_config(sub.model_type, vocabulary).to_dict()})
    known = set(inspect.signature(kind).parameters) | set(kind.attribute_map)
    changes = {key: value for key, value in SIZES.items() if key in known and not _fixed(kind, key)}
    if "vocab_size_per_layer_input" in changes:
        changes["vocab_size_per_layer_input"] = vocabulary
    changes |= {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    changes |= SPECIAL.get(name, {})
    return kind(**{key: value for key, value in changes.items() if value is not None})


def _fixed(kind: type, key: str) -> bool:
    found = inspect.getattr_static(kind, key, None)
    return isinstance(found, property) and found.fset is None


def tiny_model(name: str, vocabulary: int, seed: int = 0, **changes: Any) -> Any:
    """A random model in float32, evaluating. changes: of the configuration."""
    config = tiny_config(name, vocabulary)
    for key, value in changes.items():
        setattr(config, key, value)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    return model.float().eval()
