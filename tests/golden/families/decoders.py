"""Decoders over text."""

import torch
import transformers as hf

from .inputs import VOCAB, ids, one, plain, text, uneven
from .record import Case, Model

SPECIAL = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
SMALL = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             intermediate_size=44, max_position_embeddings=64, **SPECIAL)


def long(length=23, batch=2):
    return Case("long", {"input_ids": ids(11, batch, length)})


def rope(kind, **more):
    return {"rope_type": kind, "rope_theta": 10000.0, **more}


def transformers_4(config):
    """rope_theta and rope_scaling beside each other, as transformers 4 wrote them."""
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    parameters["type"] = parameters["rope_type"]
    config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    config["torch_dtype"] = config.pop("dtype")


def models():
    gpt2 = dict(vocab_size=VOCAB, n_embd=24, n_layer=2, n_head=3, n_positions=40, **SPECIAL)
    yield Model("gpt2", hf.GPT2LMHeadModel, hf.GPT2Config(**gpt2), text(24, 0, causal=True), seed=21)
    yield Model("gpt2_base", hf.GPT2Model, hf.GPT2Config(
        **gpt2, n_inner=30, scale_attn_by_inverse_layer_idx=True, activation_function="relu"), [plain(), uneven(0)],
        dtype=torch.float16, seed=22)
    neox = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
                max_position_embeddings=40, **SPECIAL)
    yield Model("gpt_neox", hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig(**neox), text(32, 0, causal=True), seed=23)
    yield Model("gpt_neox_serial", hf.GPTNeoXModel, hf.GPTNeoXConfig(
        **neox, use_parallel_residual=False, rotary_pct=1.0, attention_bias=False, hidden_act="gelu_new"), [uneven(0)],
        dtype=torch.bfloat16, edit=neox_4, seed=24)
    opt = dict(vocab_size=VOCAB, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, ffn_dim=40,
               max_position_embeddings=40, **SPECIAL)
    yield Model("opt", hf.OPTForCausalLM, hf.OPTConfig(**opt, word_embed_proj_dim=24), text(24, 0, causal=True), seed=25)
    yield Model("opt_350m", hf.OPTForCausalLM, hf.OPTConfig(**opt, word_embed_proj_dim=16, do_layer_norm_before=False),
                [plain(), uneven(0)], seed=26)
    yield from llamas()
    yield from windows()


def llamas():
    yield Model("llama", hf.LlamaForCausalLM, hf.LlamaConfig(**SMALL, rope_parameters=rope("default")),
                text(32, 0, causal=True), shard="30KB", edit=transformers_4, seed=31)
    yield Model("llama_base", hf.LlamaModel, hf.LlamaConfig(
        **SMALL, rope_parameters=rope("default"), head_dim=12, attention_bias=True, mlp_bias=True,
        hidden_act="gelu"), [plain(), uneven(0)], dtype=torch.bfloat16, seed=32)
    scalings = {
        "linear": dict(factor=4.0),
        "dynamic": dict(factor=2.0),
        "llama3": dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16),
        "yarn": dict(factor=4.0, original_max_position_embeddings=16, beta_fast=4.0, beta_slow=1.0),
        "longrope": dict(short_factor=[1.0, 1.1, 1.3, 2.0], long_factor=[1.5, 2.0, 4.0, 6.0], factor=4.0,
                         original_max_position_embeddings=16),
    }
    for index, (kind, more) in enumerate(scalings.items()):
        config = dict(SMALL, num_hidden_layers=1, tie_word_embeddings=True)
        if kind == "dynamic":
            config["max_position_embeddings"] = 16
        yield Model(f"llama_{kind}", hf.LlamaModel, hf.LlamaConfig(**config, rope_parameters=rope(kind, **more)),
                    [plain(), long()], dtype=torch.bfloat16, edit=transformers_4 if index % 2 else None,
                    seed=33 + index)


def windows():
    yield Model("mistral", hf.MistralForCausalLM, hf.MistralConfig(**SMALL, sliding_window=5),
                text(32, 0, causal=True) + [long()], seed=41)
    qwen2 = hf.Qwen2Config(**dict(SMALL, num_hidden_layers=3), use_sliding_window=True, sliding_window=6,
                           max_window_layers=1, tie_word_embeddings=True)
    yield Model("qwen2", hf.Qwen2ForCausalLM, qwen2, text(32, 0, causal=True) + [long(17)], edit=qwen_4, seed=42)
    yield Model("qwen2_windows", hf.Qwen2Model, hf.Qwen2Config(
        **SMALL, use_sliding_window=True, sliding_window=3, max_window_layers=0), [plain()], dtype=torch.bfloat16,
        edit=qwen_4, seed=29)
    yield Model("qwen2_full", hf.Qwen2Model, hf.Qwen2Config(**SMALL, sliding_window=6), [long(13)],
                dtype=torch.float16, edit=qwen_4, seed=43)
    yield Model("qwen3", hf.Qwen3ForCausalLM, hf.Qwen3Config(**SMALL, head_dim=10), text(32, 0, causal=True), seed=44)
    gemma = dict(SMALL, head_dim=10, query_pre_attn_scalar=12, sliding_window=5, num_hidden_layers=3,
                 attn_logit_softcapping=4.0, final_logit_softcapping=6.0)
    yield Model("gemma2", hf.Gemma2ForCausalLM, hf.Gemma2Config(**gemma), text(32, 0, causal=True) + [long(14)],
                seed=45)
    yield Model("gemma2_defaults", hf.Gemma2ForCausalLM, hf.Gemma2Config(
        **dict(gemma, num_hidden_layers=1, attn_logit_softcapping=50.0, final_logit_softcapping=30.0)), [plain()],
        dtype=torch.bfloat16, edit=no_softcaps, seed=50)
    yield Model("gemma2_no_softcaps", hf.Gemma2ForCausalLM, hf.Gemma2Config(
        **dict(gemma, num_hidden_layers=1, attn_logit_softcapping=None, final_logit_softcapping=None)), [plain()],
        dtype=torch.bfloat16, seed=50)
    yield Model("starcoder2", hf.Starcoder2ForCausalLM, hf.Starcoder2Config(
        **dict(SMALL, intermediate_size=40), sliding_window=6), text(32, 0, causal=True) + [long(15)], seed=48)
    yield Model("starcoder2_base", hf.Starcoder2Model, hf.Starcoder2Config(
        **dict(SMALL, intermediate_size=40), use_bias=False, hidden_act="gelu"), [uneven(0)], dtype=torch.bfloat16,
        seed=49)
    sinks = dict(SMALL, head_dim=8, sliding_window=5, num_local_experts=4, num_experts_per_tok=2)
    sinks["intermediate_size"] = 20
    yield Model("gpt_oss", hf.GptOssForCausalLM, hf.GptOssConfig(**sinks, rope_parameters=rope(
        "yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=8.0, beta_slow=1.0, truncate=False)),
        text(32, 0, causal=True) + [long(18)], seed=46)
    yield Model("gpt_oss_half", hf.GptOssForCausalLM, hf.GptOssConfig(**sinks, rope_parameters=rope("default")),
                [plain(), one()], dtype=torch.bfloat16, seed=47)


def no_softcaps(config):
    """Keys that are left out stand for what the family was released with; null is none."""
    config.pop("attn_logit_softcapping")
    config.pop("final_logit_softcapping")


def qwen_4(config):
    """What transformers 4 wrote before layer_types."""
    transformers_4(config)
    config.pop("layer_types")


def neox_4(config):
    """What transformers 4 wrote."""
    parameters = config.pop("rope_parameters")
    config.update(rotary_emb_base=parameters["rope_theta"], rotary_pct=parameters["partial_rotary_factor"])
