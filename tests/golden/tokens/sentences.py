"""SentencePiece models trained on the texts, in the directories that models come in, and what transformers makes of
each: the tokenizer that the expectations come from."""

import io
import json

import sentencepiece

from tokens.trained import with_common_characters

UNIGRAM_LIKE = {"model_type": "unigram", "vocab_size": 1600, "character_coverage": 0.98, "num_threads": 1,
                "max_sentence_length": 8192, "minloglevel": 2}
BPE_LIKE = {**UNIGRAM_LIKE, "model_type": "bpe", "byte_fallback": True, "split_digits": True,
            "normalization_rule_name": "identity", "allow_whitespace_only_pieces": True,
            "remove_extra_whitespaces": False}

# directory, file, what tokenizer_config.json says, what the trainer is told
MODELS = [
    ("t5_model", "spiece.model", {"tokenizer_class": "T5Tokenizer", "extra_ids": 100},
     {**UNIGRAM_LIKE, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "normalization_rule_name": "nmt_nfkc"}),
    ("albert_model", "spiece.model", {"tokenizer_class": "AlbertTokenizer", "do_lower_case": True},
     {**UNIGRAM_LIKE, "pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": "[CLS],[SEP],[MASK]",
      "normalization_rule_name": "nmt_nfkc_cf"}),
    ("xlmr_model", "sentencepiece.bpe.model", {"tokenizer_class": "XLMRobertaTokenizer"},
     {**UNIGRAM_LIKE, "normalization_rule_name": "nmt_nfkc"}),
    ("llama_model", "tokenizer.model", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True},
     {**BPE_LIKE, "user_defined_symbols": "<tag>,New York"}),
    ("spm_model", "tokenizer.model", {"tokenizer_class": "PreTrainedTokenizerFast"},
     {**UNIGRAM_LIKE, "byte_fallback": True, "normalization_rule_name": "nfkc"}),
    ("spm_bpe_model", "tokenizer.model", {"tokenizer_class": "PreTrainedTokenizerFast"},
     {**BPE_LIKE, "remove_extra_whitespaces": True, "user_defined_symbols": "<tag>,New York"}),
]


def train(lines, options):
    model = io.BytesIO()
    sentences = (line for line in with_common_characters(lines, 1200) if "\n" not in line and "▁" not in line)
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=sentences, model_writer=model, **options)
    return model.getvalue()


def write_models(folder, lines):
    """Yields the name of each directory and the tokenizers.Tokenizer that transformers opens it as."""
    from transformers import AutoTokenizer
    for name, file, config, options in MODELS:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        (place / file).write_bytes(train(lines, options))
        (place / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
        yield name, AutoTokenizer.from_pretrained(place).backend_tokenizer
