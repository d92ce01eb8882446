"""Inputs of the cases: ids, masks, embeddings, pictures, features, from seeds."""

import torch

from .record import Case

#: Small enough for tiny files; the first few ids are special ones in some families.
VOCAB = 67


def ids(seed, batch, length, vocab=VOCAB, low=4):
    return torch.randint(low, vocab, (batch, length), generator=torch.Generator().manual_seed(seed))


def floats(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mask(lengths, longest, left=False):
    rows = [[0] * (longest - n) + [1] * n if left else [1] * n + [0] * (longest - n) for n in lengths]
    return torch.tensor(rows)


def padded(seed, lengths, pad, left=False):
    """Uneven rows, filled up with `pad`, and their mask."""
    longest = max(lengths)
    kept = mask(lengths, longest, left)
    return {"input_ids": torch.where(kept == 1, ids(seed, len(lengths), longest), pad), "attention_mask": kept}


def plain(length=9, batch=2, **more):
    return Case("plain", {"input_ids": ids(1, batch, length), **more})


def uneven(pad, lengths=(4, 11, 7)):
    return Case("uneven", padded(2, lengths, pad))


def left(pad, lengths=(5, 8)):
    return Case("left_padded", padded(3, lengths, pad, left=True))


def one(length=1):
    return Case("one_token", {"input_ids": ids(4, 1, length)})


def holes():
    """A mask with a hole in the middle, and ids below it that are no padding."""
    return Case("holes", {"input_ids": ids(5, 2, 7), "attention_mask": torch.tensor([[1, 1, 0, 1, 1, 1, 0], [1] * 7])})


def embeds(width, length=5, batch=2):
    return Case("inputs_embeds", {"inputs_embeds": floats(6, batch, length, width)})


def pair(pad, lengths=(6, 9), second=(3, 4)):
    inputs = padded(7, lengths, pad)
    types = torch.zeros_like(inputs["input_ids"])
    for row, (length, start) in enumerate(zip(lengths, second)):
        types[row, start:length] = 1
    return Case("pair", {**inputs, "token_type_ids": types})


def text(width, pad, causal=False):
    """The usual set."""
    return [plain(), uneven(pad), one(), embeds(width), left(pad) if causal else holes()]
