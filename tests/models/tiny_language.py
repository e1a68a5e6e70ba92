"""Causal language models of transformers, tiny and random, from a table of shrunk sizes."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

LAYERS, WIDTH, HEADS, HEAD, INNER, VOCABULARY, LENGTH = 2, 32, 4, 16, 48, 64, 64
"""Sizes that tell one dimension from another: heads times head width is not the model's width."""
SIZES: dict[tuple[str, ...], Any] = {
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks"): LAYERS,
    ("decoder_layers", "encoder_layers", "num_decoder_layers", "num_encoder_layers"): LAYERS,
    ("hidden_size", "n_embd", "d_model", "dim", "model_dim", "embedding_size"): WIDTH,
    ("embedding_dim", "word_embed_proj_dim", "emb_dim", "decoder_hidden_size"): WIDTH,
    ("num_attention_heads", "n_head", "n_heads", "num_heads"): HEADS,
    ("decoder_attention_heads", "encoder_attention_heads"): HEADS,
    ("num_decoder_attention_heads", "num_encoder_attention_heads"): HEADS,
    ("num_key_value_heads", "num_kv_heads", "kv_n_heads"): 2,
    ("head_dim", "kv_channels", "dim_head", "v_head_dim"): HEAD,
    ("qk_nope_head_dim", "qk_rope_head_dim"): 8,
    ("q_lora_rank", "kv_lora_rank", "o_lora_rank"): 16,
    ("intermediate_size", "n_inner", "ffn_dim", "dim_ff", "ffn_hidden_size", "d_ff"): INNER,
    ("decoder_ffn_dim", "encoder_ffn_dim", "dff", "d_inner", "shared_intermediate_size"): INNER,
    ("ffn_hidden_dim", "block_ff_dim", "mlp_hidden_size", "intermediate_size_mlp"): INNER,
    ("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"): 24,
    ("moe_shared_expert_intermediate_size", "moe_shared_intermediate_size"): 24,
    ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"): 4,
    ("num_experts_per_tok", "moe_k", "num_experts_per_token", "moe_topk", "top_k_experts"): 2,
    ("n_group", "topk_group", "n_shared_experts", "num_shared_experts"): 1,
    ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"): 1,
    ("vocab_size", "text_vocab_size"): VOCABULARY,
    (
        "max_position_embeddings",
        "n_positions",
        "max_sequence_length",
        "n_ctx",
        "seq_length",
    ): LENGTH,
    ("max_seq_len", "max_length", "context_length", "sliding_window"): LENGTH,
    ("linear_num_key_heads", "linear_num_value_heads", "mamba_n_heads", "mamba_num_heads"): 4,
    ("linear_key_head_dim", "linear_value_head_dim", "mamba_d_head", "mamba_head_dim"): 16,
    ("mamba_d_state", "state_size", "ssm_state_size", "mamba_n_groups", "n_groups"): 4,
    ("mamba_d_ssm",): 64,
    ("mamba_dt_rank", "time_step_rank"): 4,
    ("mamba_chunk_size", "chunk_size"): 16,
    ("full_attention_interval", "attn_layer_period", "expert_layer_period"): 2,
    ("attn_layer_offset", "expert_layer_offset"): 1,
    ("lru_width", "attention_window_size"): 32,
    ("rotary_dim", "index_n_heads", "index_head_dim"): 8,
    ("index_topk",): 4,
    ("num_buckets",): 8,
    ("pad_token_id",): 0,
    ("bos_token_id", "decoder_start_token_id", "cls_token_id"): 1,
    ("eos_token_id", "sep_token_id"): 2,
}
MOST = 500_000
"""Parameters of a tiny model."""
OVER: dict[str, dict[str, Any]] = {
    "axk1": {"head_dim": 8},
    "axk2": {"num_key_value_heads": 4},
    "deepseek_v3": {"head_dim": 8},
    "deepseek_v32": {"num_key_value_heads": 4},
    "dots3_note_text": {"num_key_value_heads": 4},
    "gemma4_text": {"vocab_size_per_layer_input": VOCABULARY, "global_head_dim": HEAD},
    "glm_moe_dsa": {"num_key_value_heads": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "helium": {"head_dim": 8},
    "inkling_text": {"swa_num_attention_heads": HEADS},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "rwkv": {"num_hidden_layers": 3},
    "youtu": {"head_dim": 8},
}
"""By model type: fields that the table does not know, or sizes that a family insists on."""

FAMILIES = [
    *("afmoe", "apertus", "arcee", "bart", "beam", "bert", "biogpt", "bitnet", "bloom"),
    *("codegen", "cohere", "cohere2", "ctrl", "deepseek_v2", "deepseek_v3", "diffllama"),
    *("ernie4_5", "exaone4", "falcon", "falcon_mamba", "gemma", "gemma2", "gemma3_text", "glm4"),
    *("glm4_moe", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite"),
    *("granitemoe", "jamba", "lfm2", "llama", "mamba", "mamba2", "minimax", "mistral", "mixtral"),
    *("mpt", "nemotron_h", "olmo", "olmo2", "olmoe", "opt", "persimmon", "phi", "phi3", "qwen2"),
    *("qwen3", "qwen3_moe", "qwen3_next", "recurrent_gemma", "rwkv", "smollm3", "stablelm"),
    *("starcoder2", "xglm"),
]
"""Model types in the table of docs/language-architectures.md."""
OTHERS = [
    *("apertus1p5_text", "aria_text", "axk1", "axk2", "bamba", "bert-generation", "big_bird"),
    *("bigbird_pegasus", "blenderbot", "blenderbot-small", "camembert", "cohere2_moe", "cpmant"),
    *("cwm", "data2vec-text", "deepseek_v32", "deepseek_v4", "doge", "dory", "dots1"),
    *("dots3_note_text", "electra", "ernie", "ernie4_5_moe", "exaone", "exaone_moe", "falcon_h1"),
    *("flex_olmo", "flint", "gemma4_text", "gemma4_unified_text", "glm", "glm4_moe_lite"),
    *("glm_moe_dsa", "gpt-sw3", "gpt_neox_japanese", "granite_swa", "granitemoe_swa"),
    *("granitemoehybrid", "granitemoeshared", "helium", "hrm_text", "hunyuan_v1_dense"),
    *("hunyuan_v1_moe", "hy_v3", "hy_v4", "hyperclovax", "inkling_text", "internlm3"),
    *("iquestcoder", "jais2", "jetmoe", "kolibri1", "laguna", "lara_mini", "lfm3", "llama4_text"),
    *("marian", "mbart", "megatron-bert", "mellum", "mimo_v2_flash", "minicpm3", "minimax_m2"),
    *("minimax_m3_vl_text", "ministral", "ministral3", "modernbert-decoder", "moshi", "mvp"),
    *("nanochat", "nemotron", "olmo3", "olmo_hybrid", "openai-gpt", "pegasus", "phimoe"),
    *("plbart", "prophetnet", "qwen2_moe", "qwen3_5_moe_text", "qwen3_5_text", "qwen4_exp_text"),
    *("rembert", "roberta", "roberta-prelayernorm", "roformer", "sarvam_mla", "sarvam_moe"),
    *("seed_oss", "solar_open", "trocr", "vaultgemma", "whisper", "xlm", "xlm-roberta"),
    *("xlm-roberta-xl", "xlnet", "xlstm", "youtu"),
]
"""Further model types that can be built tiny."""


def tiny_config(model_type: str, **more: Any) -> Any:
    """The configuration of a family, shrunk; `more` overrides."""
    kind = CONFIG_MAPPING[model_type]
    known = kind().to_dict()
    values = {name: size for names, size in SIZES.items() for name in names if name in known}
    values |= {"is_decoder": True} if "is_decoder" in known else {}
    return kind(**(values | OVER.get(model_type, {}) | more))


def tiny_language_model(
    model_type: str, seed: int = 0, **more: Any
) -> transformers.PreTrainedModel:
    """A random model in float32, in eval mode; weights large enough to matter."""
    config = tiny_config(model_type, **more)
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    assert size < MOST, f"{model_type} has {size} parameters: shrink it in OVER"
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    model = model.float().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 0.15, generator=generator)
        elif name.endswith("bias"):
            parameter.normal_(0, 0.1, generator=generator)
        elif "norm" in name or "ln" in name:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def tokens(rows: int = 2, length: int = 12, seed: int = 0) -> torch.Tensor:
    """Random token numbers, special ones left out: (rows, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (rows, length), generator=generator)


def words(count: int = VOCABULARY) -> list[str]:
    """The words of the tokenizer: one token each, with a space between them."""
    return ["<pad>", "<s>", "</s>", "<unk>", *(f"w{number}" for number in range(count - 4))]


def word_tokenizer(count: int = VOCABULARY) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of `words` that begins every text with <s>."""
    numbers = {word: number for number, word in enumerate(words(count))}
    inner = Tokenizer(WordLevel(numbers, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    inner.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def write_language_model(folder: Path, model_type: str = "llama", **more: Any) -> Path:
    """A tiny random model with its tokenizer, as a stock checkpoint."""
    tiny_language_model(model_type, **more).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def write_text(path: Path, documents: int = 1, length: int = 400, seed: int = 0) -> Path:
    """Random words; several documents make a JSON-lines file."""
    generator = torch.Generator().manual_seed(seed)
    texts = []
    for _ in range(documents):
        numbers = torch.randint(4, VOCABULARY, (length,), generator=generator)
        texts.append(" ".join(words()[number] for number in numbers))
    lines = texts if documents == 1 else [json.dumps({"text": text}) for text in texts]
    path.write_text("\n".join(lines) + "\n")
    return path
