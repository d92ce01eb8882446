#!/usr/bin/env python3
"""Makes unicode_tables.inc and regex_classes.inc: properties of characters as the tokenizers package has them, asked of it one by one.

The package joins several sources of different versions of Unicode, so that no library's tables equal it.
Run it from the project's root: python3 lib/tokenizer/unicode_tables.py (tokenizers 0.23.3)."""
import pathlib
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def dropped(normalizer, before=""):
    return [c for c in CHARACTERS if normalizer.normalize_str(before + chr(c)) == before]


def cut(pre_tokenizer, pieces):
    return [c for c in CHARACTERS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) == pieces]


def matched(regex):
    """What a class of the package's library of regular expressions holds."""
    pre_tokenizer = pre_tokenizers.Split(Regex(regex), "removed")
    return [c for c in CHARACTERS if not pre_tokenizer.pre_tokenize_str(chr(c))]


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
    """Characters that decompose or combine in unicodedata's version of Unicode and not in the package's; and all that
    are newer than unicodedata, for utf8proc may know them."""
    forms = [("NFD", normalizers.NFD()), ("NFKD", normalizers.NFKD())]
    return [c for c in CHARACTERS
            if any(n.normalize_str(chr(c)) == chr(c) != unicodedata.normalize(f, chr(c)) for f, n in forms)
            or combines_unlike(c) or unicodedata.category(chr(c)) == "Cn"]


CLASSES = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "N", "Nd", "Nl", "No", "P", "Po", "S", "Sc", "Sm", "So"]


def in_class(c, name):
    return unicodedata.category(chr(c)).startswith(name)


def is_word(c):
    category = unicodedata.category(chr(c))
    circled = 0x24B6 <= c <= 0x24E9 or any(f <= c <= f + 25 for f in (0x1F130, 0x1F150, 0x1F170))
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc") or circled


def write_regex_classes(path):
    """Characters that the package's library of regular expressions knows and unicodedata's (and PCRE2's) does not."""
    out = [f"/* Made by unicode_tables.py with tokenizers {tokenizers.__version__}; do not edit. */"]
    missing = {name: [c for c in matched(rf"\p{{{name}}}") if not in_class(c, name)] for name in CLASSES}
    missing["w"] = [c for c in matched(r"[\w]") if not is_word(c)]
    for name, characters in missing.items():
        out.append(f"#define MORE_{name} \\")
        text = [rf'"\\x{{{first:x}}}-\\x{{{last:x}}}"' for first, last in ranges(characters)] or ['""']
        lines = [" ".join(text[i:i + 5]) for i in range(0, len(text), 5)]
        out += ["    " + line + " \\" for line in lines[:-1]] + ["    " + lines[-1]]
    path.write_text("\n".join(out) + "\n")


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
        "regex_letter": matched(r"\p{L}"),
        "regex_number": matched(r"\p{N}"),
        "later": later(),
    }
    out = [f"/* Made by unicode_tables.py with tokenizers {tokenizers.__version__}; do not edit. */"]
    for name, characters in tables.items():
        write(out, "range", name, ranges(characters), 2)
    write(out, "case_run", "case_runs", case_runs(), 2)
    doubles = [c for c in CHARACTERS if len(normalizers.Lowercase().normalize_str(chr(c))) != 1]
    assert doubles == [0x130], doubles
    path = pathlib.Path(__file__)
    path.with_suffix(".inc").write_text("\n".join(out) + "\n")
    write_regex_classes(path.with_name("regex_classes.inc"))


if __name__ == "__main__":
    main()
