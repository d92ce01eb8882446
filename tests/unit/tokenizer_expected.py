#!/usr/bin/env python3
"""Makes tokenizer_expected.inc: small tokenizers, texts, and what the tokenizers package (0.23.3) makes of them; for
files of before tokenizer.json what transformers (5.24) makes of them.

Run it from the project's root: python3 tests/unit/tokenizer_expected.py"""
import json
import pathlib
import re
import tempfile

import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

TEXTS = [
    "Héllo, wörld! It's 12½ №3.",
    "  a\t\nb\u00a0c \u3000d\u200b\u2028  ",
    "e\u0301\u0323\u0327 \u1e69\u0307 \uac00\u11a8 \ufb01 \u212b",
    "中文字 カタカナ ㍿ 한국어 हिन्दी",
    "👨‍👩‍👧 🇫🇷 𝒜 \u0000x\u0007\ufffdy",
    "שָׁלוֹם مَرْحَبًا İIß ΑΣ",
    "the [X] xX[X]  [X]abX the",
    "",
]
BYTES = {f"<0x{i:02X}>": i for i in range(256)}


def by_bytes(normalizer):
    """The tokens are the bytes of the normalised text."""
    tokenizer = Tokenizer(models.BPE(BYTES, [], byte_fallback=True))
    tokenizer.normalizer = normalizer
    return tokenizer


def by_pieces(pre_tokenizer):
    """The tokens are the pieces."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "the": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


def normalizing():
    n = normalizers
    return [by_bytes(part) for part in (
        n.NFC(), n.NFD(), n.NFKC(), n.NFKD(), n.Lowercase(), n.StripAccents(), n.Strip(), n.Strip(right=False), n.Nmt(),
        n.Prepend("▁"), n.Replace("l", "<>"), n.Replace(Regex(r"\s+|[aeiou]\b"), "_"), n.ByteLevel(),
        n.BertNormalizer(), n.BertNormalizer(clean_text=False, strip_accents=False), n.BertNormalizer(lowercase=False),
        n.Sequence([n.NFKD(), n.StripAccents(), n.Lowercase(), n.Replace(" ", "")]))]


def splitting():
    p, behaviors = pre_tokenizers, ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    parts = [p.BertPreTokenizer(), p.Whitespace(), p.WhitespaceSplit(), p.Punctuation(), p.Digits(True), p.Digits(False),
             p.CharDelimiterSplit("a"), p.FixedLength(length=4), p.ByteLevel(True), p.ByteLevel(False, use_regex=False),
             p.Split(Regex(r"\W+"), "isolated"), p.Split(Regex(r"[\s\w]|\h"), "isolated"),
             p.Split(Regex(r"\p{Han}|$|\p{Lu}"), "isolated"), p.Sequence([p.WhitespaceSplit(), p.Punctuation("removed")])]
    parts += [p.Split(" ", b) for b in behaviors] + [p.Split(Regex(r"[^\w]"), b, invert=True) for b in behaviors]
    return [by_pieces(part) for part in parts]


def adding():
    """Added tokens of every kind."""
    made = []
    for normalizer in (None, normalizers.Lowercase(), normalizers.Sequence([normalizers.Prepend("_"), normalizers.NFD()])):
        tokenizer = by_bytes(normalizer)
        tokenizer.add_tokens([AddedToken("xX", single_word=True), AddedToken("abX", normalized=True), AddedToken("é")])
        tokenizer.add_special_tokens([AddedToken("[X]", lstrip=True, rstrip=True), "the"])
        made.append(tokenizer)
    return made


def merging():
    """Byte pair encoding and WordPiece, with what is put around the texts."""
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("h", "e"), ("t", "he"), ("Ġ", "the"), ("l", "l"), ("he", "ll"), ("Ġ", "Ġ")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    vocabulary |= {"<s>": len(vocabulary), "</s>": len(vocabulary) + 1}
    made = []
    for trim, prefix in ((True, True), (True, False), (False, False)):
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(prefix)
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]), trim, prefix)
        tokenizer.decoder = decoders.ByteLevel()
        made.append(tokenizer)
    letters = {"<unk>": 0, "a": 1, "##b</w>": 2, "##b": 3, "ab": 4, "a</w>": 5, "[X": 6, "the": 7, "t": 8, "##h": 9,
               "##e</w>": 10, "##he</w>": 11, "the</w>": 12, "[CLS]": 13, "[SEP]": 14, "##he": 15}
    for fuse in (False, True):
        tokenizer = Tokenizer(models.BPE(letters, [("##h", "##e</w>"), ("t", "##he</w>"), ("a", "##b")], unk_token="<unk>",
                                         continuing_subword_prefix="##", end_of_word_suffix="</w>", fuse_unk=fuse))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
            "[CLS] $A [SEP]", "$B:3 [SEP]:2 $A:1 [CLS]:4", [("[CLS]", 13), ("[SEP]", 14)])])
        tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
        made.append(tokenizer)
    tokenizer = Tokenizer(models.WordPiece(letters, unk_token="<unk>", max_input_chars_per_word=6))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 14), ("[CLS]", 13))
    tokenizer.decoder = decoders.WordPiece()
    return made + [tokenizer]


def say(encoding):
    rows = zip(encoding.ids, encoding.offsets, encoding.type_ids, encoding.sequence_ids)
    return " ".join(f"{i}:{a}-{b}/{t}{'' if s is None else 'AB'[s]}" for i, (a, b), t, s in rows)


def quote(text):
    out = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return '"' + out + '"'


VOCABULARIES = {}


def literals(text):
    """String literals have a largest length."""
    return ", ".join(quote(text[i:i + 1000]) for i in range(0, len(text), 1000))


def quote_long(text):
    """The content of a file; a vocabulary that several have is written once."""
    found = re.search(r'(?s)"vocab": ?\{.*?(?<=\d)\}', text)
    if found is None or len(found[0]) < 2000:
        return "{" + literals(text) + "}"
    name = VOCABULARIES.setdefault(found[0], f"VOCABULARY_{len(VOCABULARIES)}")
    return "{" + literals(text[:found.start()]) + ", " + name + ", " + literals(text[found.end():]) + "}"


def case(tokenizer, text, pair, add, decodes):
    encoding = tokenizer.encode(text, pair, add_special_tokens=add)
    decoded = tokenizer.decode(encoding.ids, skip_special_tokens=True)
    fields = [quote(text), str(len(text.encode())), quote(pair) if pair is not None else "NULL", str(add).lower(),
              quote(say(encoding)), quote(decoded) if decodes and "\0" not in decoded else "NULL"]
    return "    {" + ", ".join(fields) + "},"


def cases(tokenizer, has_frame, decodes=True):
    rows = [case(tokenizer, text, None, True, decodes) for text in TEXTS]
    if has_frame:
        rows += [case(tokenizer, TEXTS[6], TEXTS[0], add, decodes) for add in (True, False)]
    return rows


def old_directories():
    """(name, files, tokenizer)"""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "h", "##e", "##llo", "a", "##b", ",", "12"]
    wordpiece = "\n".join(words) + "\n"
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = ["h e", "t he", "Ġ the", "l l", "he ll"]
    for merge in merges:
        vocabulary[merge.replace(" ", "")] = len(vocabulary)
    roberta = vocabulary | {t: len(vocabulary) + i for i, t in enumerate(["<s>", "</s>", "<unk>", "<pad>", "<mask>"])}
    gpt2 = vocabulary | {"<|endoftext|>": len(vocabulary)}
    clip_words = sorted(c + "</w>" for c in pre_tokenizers.ByteLevel.alphabet())
    clip = vocabulary | {t: len(vocabulary) + i for i, t in enumerate(clip_words + ["<|startoftext|>", "<|endoftext|>"])}
    lines = "#version: 0.2\n" + "\n".join(merges) + "\n"
    bpe = {"vocab.json": None, "merges.txt": lines}
    yield transformers.BertTokenizer, {"vocab.txt": wordpiece}
    yield transformers.BertTokenizer, {"vocab.txt": wordpiece, "tokenizer_config.json": json.dumps(
        {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "tokenize_chinese_chars": False}),
        "special_tokens_map.json": json.dumps({"mask_token": "a"})}
    yield transformers.GPT2Tokenizer, bpe | {"vocab.json": json.dumps(gpt2), "tokenizer_config.json": json.dumps(
        {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True, "add_bos_token": True})}
    yield transformers.RobertaTokenizer, bpe | {"vocab.json": json.dumps(roberta), "config.json": json.dumps(
        {"model_type": "roberta"})}
    yield transformers.CLIPTokenizer, bpe | {"vocab.json": json.dumps(clip), "tokenizer_config.json": json.dumps(
        {"tokenizer_class": "CLIPTokenizer"})}


def write_old(out):
    rows = []
    for number, (make, files) in enumerate(old_directories()):
        with tempfile.TemporaryDirectory() as directory:
            for name, content in files.items():
                (pathlib.Path(directory) / name).write_text(content)
            tokenizer = make.from_pretrained(directory).backend_tokenizer
        out.append(f"static const struct file old_files_{number}[] = {{")
        out += [f'    {{"{name}", {quote_long(content)}}},' for name, content in files.items()]
        out += ["    {NULL, {NULL}},", "};", f"static const struct expected old_cases_{number}[] = {{"]
        # transformers takes its own way to decode CLIP's tokens
        out += cases(tokenizer, True, decodes=make is not transformers.CLIPTokenizer)
        out += ["    {NULL, 0, NULL, false, NULL, NULL},", "};"]
        rows.append(f"    {{old_files_{number}, old_cases_{number}}},")
    out += ["static const struct tokenizer_case old_ones[] = {", *rows, "};"]


def main():
    out = []
    head = [f"/* Made by tokenizer_expected.py with tokenizers {tokenizers.__version__}, transformers "
           f"{transformers.__version__}; do not edit. */", "/* clang-format off */"]
    groups = {"normalizing": normalizing(), "splitting": splitting(), "adding": adding(), "merging": merging()}
    for group, made in groups.items():
        rows = []
        for number, tokenizer in enumerate(made):
            name = f"{group}_{number}"
            out.append(f"static const struct file {name}_files[] = {{")
            out += [f'    {{"tokenizer.json", {quote_long(tokenizer.to_str())}}},', "    {NULL, {NULL}},", "};"]
            out += [f"static const struct expected {name}_cases[] = {{", *cases(tokenizer, group == "merging"),
                    "    {NULL, 0, NULL, false, NULL, NULL},", "};"]
            rows.append(f"    {{{name}_files, {name}_cases}},")
        out += [f"static const struct tokenizer_case {group}[] = {{", *rows, "};"]
    write_old(out)
    head += [f"#define {name} {literals(text)}" for text, name in VOCABULARIES.items()]
    pathlib.Path(__file__).with_suffix(".inc").write_text("\n".join(head + out) + "\n")


if __name__ == "__main__":
    main()
