"""What is attended, as one float bias that torch adds to the scores: 0 or a number where a key takes part, else -inf."""

import numpy as np


def offsets(request, N, L, T, P):
    """The place among the keys of query 0, for each batch item."""
    alignment = request.get("causal_alignment", "auto")
    lengths = request.get("key_lengths")
    ends = np.array(lengths) if lengths is not None else np.full(N, T)
    if alignment == "bottom_right":
        return ends - L
    if alignment == "auto" and lengths is not None:
        return ends - L
    return np.full(N, P if alignment == "auto" else 0)


def padded_mask(mask, T, N, H, L):
    """The attn_mask as something that broadcasts to (N, H, L, T)."""
    if mask.shape[-1] not in (1, T):
        width = [(0, 0)] * (mask.ndim - 1) + [(0, T - mask.shape[-1])]
        mask = np.pad(mask, width, constant_values=False if mask.dtype == bool else -np.inf)
    if mask.ndim == 3 and mask.shape[0] == N * H and mask.shape[0] not in (1, H):
        mask = mask.reshape(N, H, *mask.shape[1:])
    return mask


class Bias:
    def __init__(self, N, H, L, T):
        self.shape = (N, H, L, T)
        self.allowed = np.ones(self.shape, bool)
        self.added = np.zeros(self.shape)

    def restrict(self, allowed):
        self.allowed &= np.broadcast_to(allowed, self.shape)

    def mask(self, mask, ignores):
        if mask.dtype == bool:
            self.restrict(~mask if ignores else mask)
        else:
            self.restrict(~np.isneginf(mask))
            self.added = self.added + np.where(np.isneginf(mask), 0, mask.astype(np.float64))

    def floats(self):
        return np.where(self.allowed, self.added, -np.inf)


def bias_of(request, tensors, N, H, L, T, P):
    """All rows of the table "What is attended" together."""
    bias = Bias(N, H, L, T)
    ignores = request.get("mask_convention") == "ignore"
    if "attn_mask" in tensors:
        bias.mask(padded_mask(tensors["attn_mask"], T, N, H, L), ignores)
    if "key_padding_mask" in tensors:
        bias.mask(np.atleast_2d(tensors["key_padding_mask"])[:, None, None, :], ignores)
    offset = offsets(request, N, L, T, P)
    place = (np.arange(L)[None, :] + offset[:, None])[:, None, :, None]
    key = np.arange(T)
    causal_and_window(bias, request, place, key)
    if "key_lengths" in request:
        bias.restrict(key < np.array(request["key_lengths"])[:, None, None, None])
    if "segment_ids" in request:
        segments = np.atleast_2d(np.array(request["segment_ids"]))
        bias.restrict((segments[:, :, None] == segments[:, None, :])[:, None])
    if "alibi_slopes" in request:
        slopes = np.array(request["alibi_slopes"], np.float64)[None, :, None, None]
        bias.added = bias.added - slopes * np.abs(place - key)
    return bias.floats(), offset


def causal_and_window(bias, request, place, key):
    prefix = np.array(request.get("prefix_length", [0]))[:, None, None, None]
    if request.get("is_causal"):
        bias.restrict((key <= place) | (key < prefix))
    window = request.get("window", {})
    left, right = window.get("left"), window.get("right")
    if left is not None and left >= 0:
        bias.restrict(key >= place - left)
    if right is not None and right >= 0:
        bias.restrict(key <= place + right)
