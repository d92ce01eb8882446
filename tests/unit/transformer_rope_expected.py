"""Writes transformer_rope_expected.inc: the rotary frequencies that transformers 5.24 (torch 2.13) computes in float32.

    python tests/unit/transformer_rope_expected.py > tests/unit/transformer_rope_expected.inc
"""
import json

import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LENGTH = 3000
HALF = 40
FACTORS = {"short_factor": [1 + i / 64 for i in range(HALF)], "long_factor": [1 + i / 8 for i in range(HALF)]}
KINDS = [
    {"rope_type": "default", "rope_theta": 10000.0},
    {"rope_type": "default", "rope_theta": 500000.0},
    {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0},
    {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.0},
    {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 512},
    {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 1024},
    {"rope_type": "longrope", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 1024, **FACTORS},
]


def frequencies(kind):
    config = transformers.LlamaConfig(hidden_size=2 * HALF, num_attention_heads=1, num_hidden_layers=1,
                                      max_position_embeddings=2000, rope_parameters=dict(kind))
    rotation = LlamaRotaryEmbedding(config)
    rotation(torch.zeros(1), torch.arange(LENGTH)[None])  # those that depend on the length see it now
    assert rotation.inv_freq.dtype is torch.float32 and len(rotation.inv_freq) == HALF
    return rotation.inv_freq.tolist()


def single(value):
    text = f"{value:.9g}"
    return (text if "." in text or "e" in text else text + ".") + "F"


def main():
    print("/* Written by transformer_rope_expected.py. */")
    print(f"enum {{ LENGTH = {LENGTH}, HALF = {HALF}, POSITIONS = 2000 }};")
    print("static const struct {\n    const char *config;\n    float inverse[HALF];\n} kinds[] = {")
    for kind in KINDS:
        text = json.dumps({"rope_parameters": kind}).replace('"', '\\"')
        numbers = ", ".join(single(value) for value in frequencies(kind))
        print(f'    {{"{text}",\n     {{{numbers}}}}},')
    print("};")


if __name__ == "__main__":
    main()
