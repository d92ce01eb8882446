"""Small tokenizers of every kind, trained on the texts, each built as the models that use it build theirs."""

import collections
import json

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
CLIP_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FAIRSEQ_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def template(tokenizer, single, pair, *names):
    return processors.TemplateProcessing(single=single, pair=pair,
                                         special_tokens=[(name, tokenizer.token_to_id(name)) for name in names])


def wordpiece(lines, size=2500, **normalizer):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.train_from_iterator(lines, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=BERT_SPECIAL, limit_alphabet=900, show_progress=False))
    tokenizer.post_processor = template(tokenizer, "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
                                        "[CLS]", "[SEP]")
    return tokenizer


def bert_uncased(lines):
    return wordpiece(lines)


def bert_cased(lines):
    tokenizer = wordpiece(lines, lowercase=False)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", tokenizer.token_to_id("[SEP]")),
                                                         ("[CLS]", tokenizer.token_to_id("[CLS]")))
    return tokenizer


def bert_strip(lines):
    """Accents off, case kept, and added tokens with every flag. Controls stay, and would be tokens: NUL may not be one,
    since it cannot be a member's name for some readers of JSON, ours among them."""
    tokenizer = wordpiece([line for line in lines if "\0" not in line], lowercase=False, strip_accents=True, handle_chinese_chars=False, clean_text=False)
    tokenizer.add_tokens([AddedToken("<tag>", lstrip=True), AddedToken("[ent]", rstrip=True, normalized=False),
                          AddedToken("New York", single_word=True), AddedToken("Ünïcode", normalized=True)])
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return tokenizer


def bert_lower_accents(lines):
    """Lower case, accents kept; the words split by other rules."""
    tokenizer = wordpiece(lines, strip_accents=False, lowercase=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(),
                                                       pre_tokenizers.Digits(individual_digits=True)])
    tokenizer.add_special_tokens([AddedToken("<tag>", normalized=True, special=True)])
    return tokenizer


def mpnet(lines):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.train_from_iterator(lines, trainers.WordPieceTrainer(
        vocab_size=1500, special_tokens=["<s>", "<pad>", "</s>", "[UNK]"], limit_alphabet=500, show_progress=False))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")), trim_offsets=True,
        add_prefix_space=False)
    return tokenizer


def byte_level(lines, special, split=None, normalizer=None, size=1800, model=None, **options):
    tokenizer = Tokenizer(models.BPE(**(model or {})))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    bytes_too = pre_tokenizers.ByteLevel(use_regex=split is None, **options)
    tokenizer.pre_tokenizer = bytes_too if split is None else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), bytes_too])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return tokenizer


def gpt2(lines):
    tokenizer = byte_level(lines, ["<|endoftext|>"], add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def gpt2_prefix(lines):
    tokenizer = byte_level(lines, ["<|endoftext|>"], add_prefix_space=True)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def gpt_neox(lines):
    tokenizer = byte_level(lines, ["<|endoftext|>", "<|padding|>"], normalizer=normalizers.NFC(),
                           add_prefix_space=False)
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(12, 1, -1)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def modern_bert(lines):
    tokenizer = byte_level(lines, ["<|endoftext|>", *BERT_SPECIAL], normalizer=normalizers.NFC(),
                           add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True, special=True)])
    tokenizer.post_processor = template(tokenizer, "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
                                        "[CLS]", "[SEP]")
    return tokenizer


def roberta(lines):
    tokenizer = byte_level(lines, FAIRSEQ_SPECIAL[:4], add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True,
                                                            add_prefix_space=False)
    return tokenizer


def llama3(lines):
    special = ["<|begin_of_text|>", "<|endoftext|>", "<|user|>"]
    tokenizer = byte_level(lines, [], split=LLAMA3_SPLIT, add_prefix_space=False, model={"ignore_merges": True})
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    bos = template(tokenizer, "<|begin_of_text|>:0 $A:0", "<|begin_of_text|>:0 $A:0 <|begin_of_text|>:1 $B:1",
                   "<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), bos])
    return tokenizer


def qwen2(lines):
    tokenizer = byte_level(lines, ["<|endoftext|>", "<|im_start|>"], split=QWEN2_SPLIT, normalizer=normalizers.NFC(),
                           add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def starcoder(lines):
    """Digits one by one before the bytes, as SmolLM's and StarCoder's."""
    tokenizer = byte_level(lines, ["<|endoftext|>"], add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


def clip(lines):
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", continuing_subword_prefix="",
                                     end_of_word_suffix="</w>", fuse_unk=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                                 normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(CLIP_SPLIT), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=2200, special_tokens=["<|startoftext|>", "<|endoftext|>"], end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", 1), ("<|startoftext|>", 0), add_prefix_space=False, trim_offsets=False)
    return tokenizer


def with_common_characters(lines, count=600):
    """Lines of the commonest characters only: a Unigram vocabulary has every character that it was trained on."""
    counted = collections.Counter("".join(lines))
    common = {character for character, _ in counted.most_common(count)} - {"\0"}
    return [line for line in lines if common.issuperset(line)]


def unigram(lines, special, size=2000, **model):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**model)
    tokenizer.decoder = decoders.Metaspace(**model)
    tokenizer.train_from_iterator(with_common_characters(lines), trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False))
    return tokenizer


def unigram_first(lines):
    return unigram(lines, ["<unk>", "<s>", "</s>"], prepend_scheme="first", split=True)


def unigram_whole(lines):
    """No prefix, and spaces inside of pieces: Metaspace that does not split."""
    tokenizer = unigram(lines, ["<pad>", "<unk>"], prepend_scheme="never", split=False)
    tokenizer.normalizer = normalizers.NFKC()
    return tokenizer


def sentencepiece_bpe(lines, size=2200):
    """BPE over characters with a token for each byte, Llama-2's model."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=size, special_tokens=special,
                                                             limit_alphabet=700, show_progress=False))
    return without_special_bytes(tokenizer, special[:3])


def without_special_bytes(tokenizer, special):
    """The trainer makes each byte's token a special one; models do not."""
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in special]
    return Tokenizer.from_str(json.dumps(state))


SPACE_DECODER = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def llama2(lines):
    tokenizer = sentencepiece_bpe(lines)
    tokenizer.decoder = decoders.Sequence([*SPACE_DECODER, decoders.Strip(content=" ", left=1)])
    tokenizer.post_processor = template(tokenizer, "<s>:0 $A:0", "<s>:0 $A:0 <s>:1 $B:1", "<s>")
    return tokenizer


def llama2_metaspace(lines):
    tokenizer = llama2(lines)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return tokenizer


def gemma(lines):
    tokenizer = sentencepiece_bpe(lines)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(SPACE_DECODER)
    tokenizer.post_processor = template(tokenizer, "<s>:0 $A:0", "<s>:0 $A:0 <s>:1 $B:1", "<s>")
    return tokenizer


BUILDERS = [bert_uncased, bert_cased, bert_strip, bert_lower_accents, mpnet, gpt2, gpt2_prefix, gpt_neox, modern_bert,
            roberta, llama3, qwen2, starcoder, clip, unigram_first, unigram_whole, llama2, llama2_metaspace, gemma]
