"""Writes data/tokenizers: the texts, tokenizers trained on them and some real ones, and what the tokenizers package
makes of the texts with each.

    make_tokenizers.py                 everything into data/tokenizers
    make_tokenizers.py --real FOLDER   only the real tokenizers' files into FOLDER, those too large for the repository
                                       included, for a test of what data/tokenizers expects of them
    make_tokenizers.py --show NAME N   what is expected of tokenizer NAME for text N, in its block's mode

Needs requirements.txt and requirements-tokenizers.txt.
"""

import argparse
import gzip
import importlib.metadata
import pathlib
import struct
import tempfile

from tokens import corpus, expect, real, trained

DATA = pathlib.Path(__file__).parent / "data" / "tokenizers"
PACKAGES = ("tokenizers", "transformers", "sentencepiece")


def versions():
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def compress(data):
    return gzip.compress(data, compresslevel=9, mtime=0)


def write_texts(texts):
    """Each with its length in bytes before it, 32 bits, little-endian."""
    records = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / "texts.bin.gz").write_bytes(compress(records))


def keep(place):
    """A directory into the repository, every file compressed."""
    target = DATA / place.name
    target.mkdir(exist_ok=True)
    for file in place.iterdir():
        (target / (file.name + ".gz")).write_bytes(compress(file.read_bytes()))


def made(folder, texts):
    """(name, tokenizer, whether its files are kept) of all; the files are in folder/name."""
    from tokens import files, sentences
    half = texts[::2]
    for build in trained.BUILDERS:
        tokenizer = build(half)
        (folder / build.__name__).mkdir()
        tokenizer.save(str(folder / build.__name__ / "tokenizer.json"), pretty=False)
        # Opened again: the package reads numbers from JSON less exactly than it has them.
        yield build.__name__, real.opened(folder / build.__name__), True
    for name, tokenizer in (*files.write_files(folder, half), *sentences.write_models(folder, half)):
        yield name, tokenizer, True
    for name, kept, build in real.REAL:
        yield name, real.opened(real.write(name, build, folder)), kept


def write_all():
    texts = corpus.texts()
    write_texts(texts)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for name, tokenizer, kept in made(folder, texts):
            expect.write(DATA / f"{name}.json", expect.expectations(tokenizer, texts, versions()))
            if kept:
                keep(folder / name)
            print(name, flush=True)


def unpacked(name, folder):
    place = folder / name
    place.mkdir()
    for file in (DATA / name).iterdir():
        (place / file.name.removesuffix(".gz")).write_bytes(gzip.decompress(file.read_bytes()))
    return place


def show(name, index):
    texts = corpus.texts()
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = real.opened(unpacked(name, pathlib.Path(scratch)))
        tokenizer.no_padding()
        mode = expect.MODES[index // expect.BLOCK % len(expect.MODES)]
        ids, rows = expect.encoded(tokenizer, texts, index, mode)
        print(mode, expect.longest(mode, index), ascii(texts[index]))
        for token, row in zip(ids, rows):
            print(token, *row, ascii(tokenizer.id_to_token(token)))
        print(*map(ascii, expect.decoded(tokenizer, ids)), sep="\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", type=pathlib.Path)
    parser.add_argument("--show", nargs=2)
    arguments = parser.parse_args()
    if arguments.real:
        for name, _, build in real.REAL:
            real.write(name, build, arguments.real)
    elif arguments.show:
        show(arguments.show[0], int(arguments.show[1]))
    else:
        write_all()


if __name__ == "__main__":
    main()
