"""What a tokenizer makes of the texts, in sums over blocks of 64 texts that a test in C can make as well."""

import json
import struct
import zlib

BLOCK = 64
# How a block's texts are encoded: blocks take turns.
MODES = ["single", "single", "single", "plain", "pair", "cut", "pair_cut", "single"]
EXAMPLES = 24


def longest(mode, index):
    return {"cut": 6 + index % 19, "pair_cut": 8 + index % 29}.get(mode, 0)


def set_truncation(tokenizer, length):
    if length:
        tokenizer.enable_truncation(length, strategy="longest_first")
    else:
        tokenizer.no_truncation()


def utf16_places(text):
    """For each code point, and the end, how many UTF-16 units stand before it."""
    places = [0]
    for character in text:
        places.append(places[-1] + (2 if ord(character) > 0xFFFF else 1))
    return places


def encoded(tokenizer, texts, index, mode):
    """(ids, [start, end, start in UTF-16, end in UTF-16, type id, special, sequence] a token)."""
    text = texts[index]
    pair = texts[(index + 1) % len(texts)] if mode.startswith("pair") else None
    set_truncation(tokenizer, longest(mode, index))
    encoding = tokenizer.encode(text, pair, add_special_tokens=mode != "plain")
    units = [utf16_places(text), utf16_places(pair or "")]
    rows = []
    for (start, end), type_id, special, sequence in zip(encoding.offsets, encoding.type_ids,
                                                        encoding.special_tokens_mask, encoding.sequence_ids):
        unit = units[sequence or 0]
        rows.append((start, end, unit[start], unit[end], type_id, special, -1 if sequence is None else sequence))
    return encoding.ids, rows


def decoded(tokenizer, ids):
    """Both ways, up to the first NUL, which is where a C string ends."""
    return [tokenizer.decode(ids, skip_special_tokens=skip).split("\0")[0] for skip in (True, False)]


def block_sums(tokenizer, texts, block):
    """CRC-32 of the ids, of the places, and of the texts that decoding gives."""
    ids_bytes, rows_bytes, decoded_bytes = [], [], []
    mode = MODES[block % len(MODES)]
    for index in range(block * BLOCK, (block + 1) * BLOCK):
        ids, rows = encoded(tokenizer, texts, index, mode)
        ids_bytes.append(struct.pack(f"<{len(ids) + 1}i", len(ids), *ids))
        rows_bytes += [struct.pack("<7i", *row) for row in rows]
        decoded_bytes += [text.encode() + b"\0" for text in decoded(tokenizer, ids)]
    return [format(zlib.crc32(b"".join(parts)), "08x") for parts in (ids_bytes, rows_bytes, decoded_bytes)]


def example(tokenizer, texts, index):
    ids, rows = encoded(tokenizer, texts, index, "single")
    tokens = [tokenizer.id_to_token(i) for i in ids]
    made = {"text": texts[index], "ids": ids, "start": [row[0] for row in rows], "end": [row[1] for row in rows],
            "tokens": tokens}
    back = [tokenizer.token_to_id(token) for token in tokens]
    if back != ids:  # an added token reads as it is normalised, and is not found by that
        made["back"] = [-1 if i is None else i for i in back]
    return made


def expectations(tokenizer, texts, versions):
    tokenizer.no_padding()
    return {"versions": versions, "vocab_size": 1 + max(tokenizer.get_vocab().values()),
            "examples": [example(tokenizer, texts, index) for index in range(EXAMPLES)],
            "blocks": [block_sums(tokenizer, texts, block) for block in range(len(texts) // BLOCK)]}


def write(path, expected):
    """One example and eight blocks a line."""
    examples = ",\n".join(json.dumps(item, ensure_ascii=True) for item in expected["examples"])
    blocks = [json.dumps(sums) for sums in expected["blocks"]]
    rows = ",\n".join(", ".join(blocks[i : i + 8]) for i in range(0, len(blocks), 8))
    path.write_text(f'{{"versions": {json.dumps(expected["versions"])},\n"vocab_size": {expected["vocab_size"]},\n'
                    f'"examples": [\n{examples}],\n"blocks": [\n{rows}]}}\n')
