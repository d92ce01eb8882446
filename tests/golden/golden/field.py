"""Scaled dot-product attention by PyTorch, in float64 from the inputs as they are."""

import dataclasses

import numpy as np
import torch

from . import masks


@dataclasses.dataclass
class Solution:
    """Everything of one computation, batch first; stages are (N, H, L, T)."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    bias: np.ndarray
    offset: np.ndarray
    stages: dict
    context: np.ndarray
    hides: bool  # numbers that are not finite, in keys and values that no query sees
    output: np.ndarray = None
    out_weight: np.ndarray = None
    present: tuple = None


def split(tensor, heads):
    """(N, L, H*D) to (N, H, L, D)."""
    N, L, E = tensor.shape
    return tensor.reshape(N, L, heads, E // heads).transpose(0, 2, 1, 3)


def without_masked(query, key, value, bias):
    """Keys that no query of an item sees are absent for the contract; torch is given zeros in their place."""
    group = query.shape[1] // key.shape[1]
    seen = ~np.isneginf(bias).all(axis=2)
    seen = seen.reshape(seen.shape[0], key.shape[1], group, -1).any(axis=2)[..., None]
    return np.where(seen, key, 0), np.where(seen, value, 0)


def hides(query, key, value, bias):
    return any(np.isfinite(safe).sum() > np.isfinite(given).sum()
               for safe, given in zip(without_masked(query, key, value, bias), (key, value)))


def attend(request, query, key, value, bias):
    """The four stages and the context; raw and softcapped scores know of no masks. query (N, H, L, D), key (N, Hkv, T, D), value (N, Hkv, T, Dv)."""
    safe_key, safe_value = without_masked(query, key, value, bias)
    group = query.shape[1] // key.shape[1]
    q, k, v, b = (torch.from_numpy(np.ascontiguousarray(x)) for x in (query, safe_key, safe_value, bias))
    scale = request.get("scale", query.shape[-1] ** -0.5)
    softcap, sinks = request.get("softcap", 0), request.get("sinks")
    grouped_v = v.repeat_interleave(group, dim=1)
    raw, softcapped = scores(q, torch.from_numpy(key), scale, softcap)
    masked = torch.where(torch.isneginf(b), b, softcapped + b)
    if not softcap and sinks is None:
        context, weights = torch.ops.aten._scaled_dot_product_attention_math(
            q, k, v, b, 0.0, False, None, scale=scale, enable_gqa=group > 1)
    else:
        weights = torch.nan_to_num(softmax(masked, sinks)) if torch.isfinite(raw[~torch.isneginf(b)]).all() else softmax(masked, sinks)
        context = weights @ grouped_v
    stages = {"raw": raw, "softcapped": softcapped, "masked": masked, "softmax": weights}
    return {name: stage.numpy() for name, stage in stages.items()}, context.numpy()


def scores(query, key, scale, softcap):
    """Before and after softcap."""
    raw = scale * (query @ key.repeat_interleave(query.shape[1] // key.shape[1], dim=1).transpose(-2, -1))
    return raw, softcap * torch.tanh(raw / softcap) if softcap else raw


def softmax(masked, sinks):
    """With sinks as transformers' eager attention of gpt-oss has them: one more column, dropped after the softmax."""
    if sinks is None:
        return torch.softmax(masked, -1)
    column = torch.tensor(sinks, dtype=masked.dtype)[None, :, None, None].expand(*masked.shape[:3], 1)
    return torch.softmax(torch.cat([masked, column], -1), -1)[..., :-1]


def solve_raw(request, tensors):
    """Raw mode: tensors by field name, query of rank 2, 3 or 4."""
    query, key, value = three(tensors)
    if tensors["query"].ndim < 4:
        heads = request.get("num_heads", 1)
        kv_heads = request.get("num_kv_heads", heads)
        query, key, value = split(query, heads), split(key, kv_heads), split(value, kv_heads)
    solution = solve(request, tensors, query, key, value)
    context = solution.context
    if tensors["query"].ndim < 4:
        context = context.transpose(0, 2, 1, 3)
        context = context.reshape(*context.shape[:2], -1)
    solution.output = context
    return solution


def three(tensors):
    """query, key and value in float64 with a batch axis."""
    query = tensors["query"]
    key = tensors.get("key", query)
    value = tensors.get("value", key)
    return [(x[None] if x.ndim == 2 else x).astype(np.float64) for x in (query, key, value)]


def solve(request, tensors, query, key, value, tail=None):
    """`tail`: (key, value) of columns behind the keys that no mask hides."""
    past = tensors.get("past_key")
    P = 0 if past is None else past.shape[2]
    if past is not None:
        key = np.concatenate([past.astype(np.float64), key], axis=2)
        value = np.concatenate([tensors["past_value"].astype(np.float64), value], axis=2)
    present = key, value
    N, H, L = query.shape[:3]
    bias, offset = masks.bias_of(request, tensors, N, H, L, key.shape[2], P)
    if tail is not None:
        key, value = np.concatenate([key, tail[0]], axis=2), np.concatenate([value, tail[1]], axis=2)
        bias = np.concatenate([bias, np.zeros((N, H, L, tail[0].shape[2]))], axis=3)
    stages, context = attend(request, query, key, value, bias)
    return Solution(query, key, value, bias, offset, stages, context, hides(query, key, value, bias), present=present)
