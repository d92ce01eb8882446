#!/usr/bin/env python3
"""Makes unicode_tables.inc: properties of characters as the tokenizers package has them, asked of it one by one.

The package joins several sources of different versions of Unicode, so that no library's tables equal it.
Run it from the project's root: python3 lib/tokenizer/unicode_tables.py (tokenizers 0.23.3)."""
import pathlib
import unicodedata

import tokenizers
from tokenizers import normalizers, pre_tokenizers

CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def dropped(normalizer, before=""):
    return [c for c in CHARACTERS if normalizer.normalize_str(before + chr(c)) == before]


def cut(pre_tokenizer, pieces):
    return [c for c in CHARACTERS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) == pieces]


def bert(**options):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**(off | options))


def combines_unlike(c):
    """Whether the package gives the character no combining class though unicodedata does."""
    if unicodedata.combining(chr(c)) == 0:
        return False
    pair = chr(c) + "\u0334" if unicodedata.combining(chr(c)) > 1 else "\u0301" + chr(c)
    return normalizers.NFD().normalize_str(pair) == pair


def later():
    """Characters that decompose or combine in unicodedata's version of Unicode and not in the package's."""
    forms = [("NFD", normalizers.NFD()), ("NFKD", normalizers.NFKD())]
    return [c for c in CHARACTERS
            if any(n.normalize_str(chr(c)) == chr(c) != unicodedata.normalize(f, chr(c)) for f, n in forms)
            or combines_unlike(c)]


def ranges(characters):
    out = []
    for c in characters:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def case_runs():
    """(first, last, step, difference): runs of characters whose lower case lies at the same distance."""
    lower = normalizers.Lowercase()
    pairs = [(c, lower.normalize_str(chr(c))) for c in CHARACTERS]
    pairs = [(c, ord(s) - c) for c, s in pairs if len(s) == 1 and ord(s) != c]
    runs = []
    for c, difference in pairs:
        last = runs[-1] if runs else None
        if last and last[3] == difference and c - last[1] <= 2 and (last[0] == last[1] or c - last[1] == last[2]):
            last[2] = c - last[1]
            last[1] = c
        else:
            runs.append([c, c, 1, difference])
    return runs


def write(out, kind, name, rows, width):
    out.append(f"static const struct {kind} {name}[] = {{")
    cells = ["{" + ", ".join(f"{v:#x}" if i < width else str(v) for i, v in enumerate(row)) + "}," for row in rows]
    line = "   "
    for cell in cells:
        if len(line) + 1 + len(cell) > 118:
            out.append(line)
            line = "   "
        line += " " + cell
    out += [line, "};"]


def main():
    tables = {
        "other": dropped(bert(clean_text=True)),
        "nonspacing_mark": dropped(bert(strip_accents=True), "a"),
        "combining_mark": dropped(normalizers.StripAccents()),
        "punctuation": cut(pre_tokenizers.Punctuation(), 3),
        "numeric": cut(pre_tokenizers.Digits(individual_digits=True), 3),
        "word": cut(pre_tokenizers.Whitespace(), 1),
        "later": later(),
    }
    out = [f"/* Made by unicode_tables.py with tokenizers {tokenizers.__version__}; do not edit. */"]
    for name, characters in tables.items():
        write(out, "range", name, ranges(characters), 2)
    write(out, "case_run", "case_runs", case_runs(), 2)
    doubles = [c for c in CHARACTERS if len(normalizers.Lowercase().normalize_str(chr(c))) != 1]
    assert doubles == [0x130], doubles
    pathlib.Path(__file__).with_suffix(".inc").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
