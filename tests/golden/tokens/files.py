"""Directories in the form that came before tokenizer.json, as transformers opens them."""

import json

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tokens import trained


def write_configs(place, config):
    (place / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def saved(builder, lines, place, config):
    place.mkdir(parents=True, exist_ok=True)
    builder(lines).model.save(str(place))
    write_configs(place, config)


# directory, whose vocabulary, what tokenizer_config.json says
OLD = [
    ("bert_files", trained.bert_uncased, {"tokenizer_class": "BertTokenizer", "do_lower_case": True}),
    ("bert_cased_files", trained.bert_cased, {"tokenizer_class": "BertTokenizer", "do_lower_case": False}),
    ("gpt2_files", trained.gpt2, {"tokenizer_class": "GPT2Tokenizer"}),
    ("roberta_files", trained.roberta, {"tokenizer_class": "RobertaTokenizer"}),
    ("clip_files", trained.clip, {"tokenizer_class": "CLIPTokenizer"}),
]


def write_files(folder, lines):
    for name, builder, config in OLD:
        saved(builder, lines, folder / name, config)
        # By way of JSON: transformers puts a function of its own in the place of CLIP's decoder.
        opened = AutoTokenizer.from_pretrained(folder / name)
        yield name, Tokenizer.from_str(opened.backend_tokenizer.to_str())
