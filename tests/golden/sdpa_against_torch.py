#!/usr/bin/env python3
"""Holds attn_sdpa of a built libattn.so against PyTorch's arithmetic in float64, over random options.

    sdpa_against_torch.py build/libattn.so [cases] [seed]

Every rule of what is attended is written here as tensor expressions over whole matrices.
"""
import ctypes as C
import math
import sys

import numpy as np
import torch

DTYPES = {np.dtype("f4"): 0, np.dtype("f8"): 1, np.dtype("i8"): 4, np.dtype("u1"): 6, np.dtype("?"): 7}


class View(C.Structure):
    _fields_ = [("data", C.c_void_p), ("dtype", C.c_int), ("rank", C.c_int), ("shape", C.c_size_t * 8),
                ("stride", C.c_ssize_t * 8)]


class Options(C.Structure):
    _fields_ = [("has_scale", C.c_bool), ("scale", C.c_double), ("softcap", C.c_double), ("attn_mask", View),
                ("key_padding_mask", View), ("bool_mask_ignores", C.c_bool), ("is_causal", C.c_bool),
                ("causal_alignment", C.c_int), ("window_left", C.c_longlong), ("window_right", C.c_longlong),
                ("key_lengths", View), ("segment_ids", View), ("prefix_length", View), ("alibi_slopes", View),
                ("sinks", View), ("past_length", C.c_size_t), ("unmasked_tail", C.c_size_t)]


class Block(C.Structure):
    _fields_ = [("stage", C.c_int), ("batch", C.c_size_t), ("head", C.c_size_t), ("query_begin", C.c_size_t),
                ("query_count", C.c_size_t), ("key_count", C.c_size_t), ("rows", C.c_void_p), ("dtype", C.c_int),
                ("row_stride", C.c_size_t), ("key_begin", C.c_size_t), ("key_end", C.c_size_t), ("lane", C.c_size_t)]


CONSUME = C.CFUNCTYPE(None, C.c_void_p, C.POINTER(Block))


class Sink(C.Structure):
    _fields_ = [("consume", CONSUME), ("context", C.c_void_p)]


class Result(C.Structure):
    _fields_ = [("output", View), ("weights", View), ("logsumexp", View), ("max_score", View), ("sinks", Sink * 4)]


class Error(C.Structure):
    _fields_ = [("status", C.c_int), ("field", C.c_char * 160), ("message", C.c_char * 400), ("offset", C.c_size_t)]


def view(array):
    v = View()
    if array is None:
        return v
    v.data = array.ctypes.data
    v.dtype = DTYPES[array.dtype]
    v.rank = array.ndim
    for axis in range(array.ndim):
        v.shape[axis] = array.shape[axis]
        v.stride[axis] = array.strides[axis] // array.itemsize
    return v


def run(lib, q, k, v, o, wants):
    n, h, l, _ = q.shape
    t, dv = k.shape[2], v.shape[3]
    out = {}
    result = Result()
    if "output" in wants:
        out["output"] = np.full((n, l, h, dv), 7, q.dtype).transpose(0, 2, 1, 3)
        result.output = view(out["output"])
    if "weights" in wants:
        out["weights"] = np.full((n, h, l, t + 3), 7, q.dtype)[..., :t]
        result.weights = view(out["weights"])
    for name in ("logsumexp", "max_score"):
        out[name] = np.full((n, h, l), 7, q.dtype)
        setattr(result, name, view(out[name]))
    keep = []
    for stage in range(4):
        if stage not in wants:
            continue
        matrix = out[stage] = np.full((n, h, l, t), 7, q.dtype)

        def consume(_, block, matrix=matrix):
            b = block.contents
            kind = C.c_double if b.dtype == 1 else C.c_float
            for row in range(b.query_count):
                at = b.rows + row * b.row_stride * C.sizeof(kind)
                matrix[b.batch, b.head, b.query_begin + row] = np.ctypeslib.as_array((kind * t).from_address(at))

        keep.append(CONSUME(consume))
        result.sinks[stage].consume = keep[-1]
    error = Error()
    status = lib.attn_sdpa(C.byref(view(q)), C.byref(view(k)), C.byref(view(v)), C.byref(o), C.byref(result), None,
                           C.byref(error))
    if status:
        raise SystemExit(f"status {status}: {error.field.decode()}: {error.message.decode()}")
    return out


def expected(q, k, v, c):
    """Whole matrices in float64. c: the case's options by name."""
    q, k, v = (torch.from_numpy(np.ascontiguousarray(x)).double() for x in (q, k, v))
    n, h, l, d = q.shape
    tail = c.get("tail", 0)
    t = k.shape[2] - tail
    group = h // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    raw = q @ k.transpose(-1, -2) * c.get("scale", 1 / math.sqrt(d))
    capped = c["softcap"] * torch.tanh(raw / c["softcap"]) if c.get("softcap") else raw
    lengths = c.get("key_lengths")
    offset = torch.zeros(n, dtype=torch.int64)
    alignment = c.get("alignment", 0)
    if alignment != 1 and lengths is not None:
        offset = torch.from_numpy(lengths) - l
    elif alignment == 2:
        offset += t - l
    elif alignment == 0:
        offset += c.get("past", 0)
    p = (torch.arange(l)[None, :] + offset[:, None])[:, None, :, None]
    j = torch.arange(t)[None, None, None, :]
    seen = torch.ones(n, h, l, t, dtype=torch.bool)
    if c.get("causal"):
        rule = j <= p
        if c.get("prefix") is not None:
            rule = rule | (j < torch.from_numpy(c["prefix"])[:, None, None, None])
        seen = seen & rule
    if c.get("left", -1) >= 0:
        seen = seen & (j >= p - c["left"])
    if c.get("right", -1) >= 0:
        seen = seen & (j <= p + c["right"])
    if lengths is not None:
        seen = seen & (j < torch.from_numpy(lengths)[:, None, None, None])
    if c.get("segments") is not None:
        ids = torch.from_numpy(c["segments"])
        seen = seen & (ids[:, None, c.get("past", 0):, None] == ids[:, None, None, :])
    bias = torch.zeros(n, h, l, t, dtype=torch.float64)
    if c.get("alibi") is not None:
        bias = bias - torch.from_numpy(c["alibi"]).double()[None, :, None, None] * (p - j).abs()
    for mask in (c.get("mask"), c["padding"][:, None, None, :] if c.get("padding") is not None else None):
        if mask is None:
            continue
        mask = torch.from_numpy(np.ascontiguousarray(mask))
        if mask.dtype in (torch.bool, torch.uint8):
            seen = seen & ((mask != 0) != c.get("ignores", False))
        else:
            bias = bias + mask.double()
    if tail:
        seen = torch.cat([seen, torch.ones(n, h, l, tail, dtype=torch.bool)], -1)
        bias = torch.cat([bias, torch.zeros(n, h, l, tail, dtype=torch.float64)], -1)
    hidden = ~seen | (bias == -math.inf)
    masked = torch.where(hidden, -math.inf, capped + torch.where(hidden, 0, bias))
    joined = masked
    if c.get("sinks") is not None:
        joined = torch.cat([masked, torch.from_numpy(c["sinks"]).double()[None, :, None, None].expand(n, h, l, 1)], -1)
    weights = torch.softmax(joined, -1)[..., : t + tail]
    weights = torch.where((masked == -math.inf).all(-1, keepdim=True), 0, weights)
    # A value whose weight is exactly 0 is left out.
    reached = weights[..., None] * v[:, :, None, :, :]
    output = torch.where(weights[..., None] == 0, 0, reached).sum(-2)
    return {0: raw, 1: capped, 2: masked, 3: weights, "weights": weights, "output": output,
            "logsumexp": torch.logsumexp(masked, -1), "max_score": masked.max(-1).values}


def random_case(rng):
    n, kv = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    h = kv * int(rng.integers(1, 4))
    l = int(rng.choice([1, 2, 3, 5, 8, 17, 33, 150, 300]))
    s = l if rng.random() < 0.6 else int(rng.choice([1, 4, 9, 31, 70, 600]))
    d, dv = (int(rng.choice([1, 2, 3, 8, 16, 17, 64])) for _ in range(2))
    c = {}
    flip = lambda chance: rng.random() < chance
    past = int(rng.integers(1, 9)) if flip(0.2) else 0
    t = s + past
    c["past"] = past
    if flip(0.2):
        c["tail"] = int(rng.integers(1, 3))
    if flip(0.3):
        c["scale"] = float(rng.choice([0.0, 0.3, -0.5, 1.0]))
    if flip(0.3):
        c["softcap"] = float(rng.choice([0.5, 2.0, 30.0]))
    c["causal"] = flip(0.4)
    c["alignment"] = int(rng.integers(0, 3))
    if flip(0.3):
        c["left"] = int(rng.choice([0, 1, 5, 40, 2**62]))
    if flip(0.3):
        c["right"] = int(rng.choice([0, 1, 5, 40]))
    if flip(0.3) and not past:
        c["key_lengths"] = rng.integers(0, t + 1, n)
    if c["causal"] and flip(0.3):
        c["prefix"] = rng.integers(0, t + 1, n)
    if l == s and flip(0.2):
        c["segments"] = np.sort(rng.integers(0, 4, (n, t)), -1) if flip(0.5) else rng.integers(0, 3, (n, t))
    if flip(0.25):
        c["alibi"] = rng.random(h).astype(rng.choice(["f4", "f8"]))
    if flip(0.25):
        c["sinks"] = rng.normal(size=h).astype(rng.choice(["f4", "f8"]))
    c["ignores"] = flip(0.3)
    if flip(0.5):
        shape = [m if flip(0.7) else 1 for m in (n, h, l, t)][int(rng.integers(0, 4)):]
        if flip(0.1) and "key_lengths" in c and shape[-1] == t:
            shape[-1] = max(int(c["key_lengths"].max()), 2) if t > 2 else t
        c["mask"] = random_mask(rng, shape)
    if flip(0.3):
        c["padding"] = random_mask(rng, (n, t))
    dtype = np.dtype(rng.choice(["f4", "f8"]))
    q = rng.normal(size=(n, l, h, d)).astype(dtype).transpose(0, 2, 1, 3)
    k = rng.normal(size=(n, t + c.get("tail", 0), kv, d)).astype(dtype).transpose(0, 2, 1, 3)
    v = rng.normal(size=(n, kv, t + c.get("tail", 0), dv)).astype(dtype)
    # Not with ALiBi, where weights far away are 0 in float32 and not in float64.
    if flip(0.15) and "alibi" not in c:
        v[rng.random(v.shape) < 0.05] = rng.choice([np.nan, np.inf])
    if flip(0.15):
        k[:, :, int(rng.integers(0, t))] = rng.choice([np.nan, np.inf])
    wants = set()
    if flip(0.8):
        wants.add("output")
    if flip(0.4):
        wants.add("weights")
    for stage in range(4):
        if flip(0.2):
            wants.add(stage)
    return q, k, v, c, wants


def random_mask(rng, shape):
    kind = rng.integers(0, 4)
    if kind == 0:
        mask = rng.random(shape) < 0.6
    elif kind == 1:
        mask = (rng.random(shape) < 0.6).astype("u1")
    else:
        mask = rng.normal(size=shape).astype("f4" if kind == 2 else "f8")
        mask[rng.random(shape) < 0.2] = -np.inf
        mask[rng.random(shape) < 0.05] = -1e30
    if len(shape) >= 2 and rng.random() < 0.3:
        mask = np.swapaxes(np.ascontiguousarray(np.swapaxes(mask, -1, -2)), -1, -2)
    return mask


def options(c):
    o = Options(window_left=c.get("left", -1), window_right=c.get("right", -1), softcap=c.get("softcap", 0),
                is_causal=c["causal"], causal_alignment=c["alignment"], bool_mask_ignores=c["ignores"],
                past_length=c["past"], unmasked_tail=c.get("tail", 0))
    if "scale" in c:
        o.has_scale, o.scale = True, c["scale"]
    for name, field in (("mask", "attn_mask"), ("padding", "key_padding_mask"), ("key_lengths", "key_lengths"),
                        ("segments", "segment_ids"), ("prefix", "prefix_length"), ("alibi", "alibi_slopes"),
                        ("sinks", "sinks")):
        setattr(o, field, view(c.get(name)))
    return o


def pad_mask(c, t):
    """The mask as attn_sdpa means it: columns that it lacks are not attended."""
    mask = c.get("mask")
    if mask is None or mask.shape[-1] in (1, t):
        return c
    hidden = c["ignores"] if mask.dtype in (np.dtype("?"), np.dtype("u1")) else -np.inf
    widths = [(0, 0)] * (mask.ndim - 1) + [(0, t - mask.shape[-1])]
    return dict(c, mask=np.pad(mask, widths, constant_values=hidden))


def main():
    lib = C.CDLL(sys.argv[1])
    cases = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    torch.set_num_threads(1)
    failures = 0
    for case in range(cases):
        rng = np.random.default_rng([seed, case])
        if "-v" in sys.argv:
            print("case", case, flush=True)
        q, k, v, c, wants = random_case(rng)
        want = expected(q, k, v, pad_mask(c, k.shape[2] - c.get("tail", 0)))
        got = run(lib, q, k, v, options(c), wants)
        tolerance = 1e-5 if q.dtype == np.dtype("f4") else 1e-12
        for name, array in got.items():
            try:
                np.testing.assert_allclose(array, want[name].numpy(), rtol=tolerance, atol=tolerance)
            except AssertionError as difference:
                failures += 1
                shown = {key: value.shape if isinstance(value, np.ndarray) else value for key, value in c.items()}
                print(f"case {case} {name}: {q.dtype} {q.shape} {k.shape} {v.shape} {sorted(map(str, wants))} {shown}")
                print("\n".join(str(difference).splitlines()[:14]))
                break
    print(f"{cases} cases, {failures} failures")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
