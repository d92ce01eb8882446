"""Runs texts through the library and through the tokenizers package, and prints where they differ.

    tokens_against_package.py FOLDER [--library build/libattn.so] [--seed N] [--count N] [--corpus]

FOLDER has a tokenizer. Texts are the corpus of make_tokenizers.py, or made up from the seed. Not part of the tests: it
is for looking further than they do, and for finding what a sum that differs comes from.
"""

import argparse
import ctypes
import pathlib
import random
import sys

from tokens import corpus, expect, real


class Token(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int64), ("text", ctypes.c_char_p), ("special", ctypes.c_bool),
                ("sequence", ctypes.c_int), ("start", ctypes.c_size_t), ("end", ctypes.c_size_t),
                ("type_id", ctypes.c_int64)]


class Encoding(ctypes.Structure):
    _fields_ = [("count", ctypes.c_size_t), ("tokens", ctypes.POINTER(Token)), ("memory", ctypes.c_void_p)]


class Options(ctypes.Structure):
    _fields_ = [("add_special_tokens", ctypes.c_bool), ("max_length", ctypes.c_size_t), ("truncation", ctypes.c_bool),
                ("offset_unit", ctypes.c_int)]


class Library:
    def __init__(self, path, folder):
        self.calls = ctypes.CDLL(path)
        self.handle = ctypes.c_void_p()
        status = self.calls.attn_tokenizer_open(ctypes.byref(self.handle), str(folder).encode(), None)
        if status:
            sys.exit(f"{folder} is not opened: status {status}")

    def encode(self, text, pair, special, length):
        options = Options(special, length, length > 0, 0)
        encoding = Encoding()
        data, second = text.encode(), None if pair is None else pair.encode()
        status = self.calls.attn_tokenizer_encode(
            self.handle, data, ctypes.c_size_t(len(data)), second, ctypes.c_size_t(len(second or b"")),
            ctypes.byref(options), ctypes.byref(encoding), None)
        if status:
            return f"status {status}"
        tokens = [encoding.tokens[i] for i in range(encoding.count)]
        rows = [(t.id, t.start, t.end, t.type_id, int(t.special), t.sequence) for t in tokens]
        self.calls.attn_encoding_reset(ctypes.byref(encoding))
        return rows

    def decode(self, ids, skip):
        text = ctypes.c_char_p()
        array = (ctypes.c_int64 * len(ids))(*ids)
        status = self.calls.attn_tokenizer_decode(self.handle, array, ctypes.c_size_t(len(ids)), skip,
                                                  ctypes.byref(text), None)
        return f"status {status}" if status else text.value.decode()


def by_package(tokenizer, text, pair, special, length):
    expect.set_truncation(tokenizer, length)
    e = tokenizer.encode(text, pair, add_special_tokens=special)
    sequences = [-1 if s is None else s for s in e.sequence_ids]
    return [(i, *o, t, s, q) for i, o, t, s, q in zip(e.ids, e.offsets, e.type_ids, e.special_tokens_mask, sequences)]


def random_texts(seed, count):
    r = corpus.Random(seed)
    python = random.Random(seed)
    lines = corpus.texts(len(corpus.HANDMADE) + count, seed)[len(corpus.HANDMADE):]
    for line in lines:
        characters = list(line)
        for _ in range(r.below(3)):
            characters.insert(python.randint(0, len(characters)), r.pick(corpus.CONTROLS + corpus.MARKS + corpus.SPACES))
        yield "".join(characters)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--library", default="build/libattn.so")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--corpus", action="store_true")
    arguments = parser.parse_args()
    library, tokenizer = Library(arguments.library, arguments.folder), real.opened(arguments.folder)
    tokenizer.no_padding()
    texts = corpus.texts() if arguments.corpus else list(random_texts(arguments.seed, arguments.count))
    different = 0
    for index, text in enumerate(texts):
        pair = texts[index - 1] if index % 5 == 4 else None
        length = 8 + index % 23 if index % 3 == 2 else 0
        special = index % 7 != 6
        expected, made = by_package(tokenizer, text, pair, special, length), library.encode(text, pair, special, length)
        ids = [row[0] for row in expected]
        wrong = expected != made or any(library.decode(ids, skip) != tokenizer.decode(ids, skip_special_tokens=skip)
                                        .split("\0")[0] for skip in (True, False))
        if wrong:
            different += 1
            if different <= 5:
                print(index, ascii(text), ascii(pair), length, f"\n  package {expected}\n  library {made}")
    print(f"{len(texts)} texts, {different} differ")


if __name__ == "__main__":
    main()
