"""What is attended: every row of that table, alone and together."""

import numpy as np

from .build import R, case
from .container import Group

N, H, L, T = 2, 3, 4, 6
CROSS = {"query": (N, H, L, 5), "key": (N, H, T, 5)}
ALIGNMENTS = ("auto", "top_left", "bottom_right")
WINDOWS = ({"left": 0, "right": 0}, {"left": 2}, {"right": 1}, {"left": 2, "right": 1}, {"left": 1, "right": 0},
           {"left": None, "right": 2}, {"left": -1, "right": -1}, {"left": 40, "right": 40})


def cross():
    return {field: R(*shape) for field, shape in CROSS.items()}


def bits(seed, *shape):
    """Booleans with a true one in every row."""
    mask = R(*shape).array("float32") > -0.6
    mask[..., seed % shape[-1]] = True
    return mask


def floats(*shape, infinities=False):
    values = R(*shape).array("float32").astype(np.float64)
    if infinities:
        values[..., :-1] = np.where(values[..., :-1] > 1.2, -np.inf, values[..., :-1])
    return values


def attn_masks(group, dtype):
    tag = dtype[5:]
    for shape in ((T,), (1,), (L, T), (L, 1), (1, T), (H, L, T), (1, L, T), (H, 1, T), (N, 1, L, T), (N, H, L, T),
                  (1, H, 1, T), (N, 1, 1, T)):
        name = "x".join(map(str, shape))
        if shape[-1] == T:
            case(group, f"bool_mask_{name}_{tag}", cross() | {"attn_mask": bits(1, *shape)}, dtype, weights="per_head")
        case(group, f"float_mask_{name}_{tag}", cross() | {"attn_mask": floats(*shape)}, dtype, weights="average")
    case(group, f"bool_mask_item_times_heads_{tag}", cross() | {"attn_mask": bits(1, N * H, L, T)}, dtype,
         weights="per_head")
    case(group, f"float_mask_item_times_heads_{tag}", cross() | {"attn_mask": floats(N * H, L, T)}, dtype)
    case(group, f"float_mask_with_infinities_{tag}", cross() | {"attn_mask": floats(N, H, L, T, infinities=True)},
         dtype, weights=["average", "per_head"])
    case(group, f"float_mask_huge_is_no_mask_{tag}", cross() | {"attn_mask": np.full((L, T), -1e30)}, dtype)
    case(group, f"bool_mask_that_ignores_{tag}", cross() | {"attn_mask": ~bits(2, L, T)}, dtype,
         mask_convention="ignore", weights="per_head")
    case(group, f"float_mask_whatever_the_convention_{tag}", cross() | {"attn_mask": floats(L, T)}, dtype,
         mask_convention="ignore")


def padding_masks(group, dtype):
    tag = dtype[5:]
    case(group, f"padding_bool_{tag}", cross() | {"key_padding_mask": bits(0, N, T)}, dtype, weights="per_head")
    case(group, f"padding_attend_said_{tag}", cross() | {"key_padding_mask": bits(3, N, T)}, dtype,
         mask_convention="attend")
    case(group, f"padding_ignore_{tag}", cross() | {"key_padding_mask": ~bits(4, N, T)}, dtype,
         mask_convention="ignore", weights="per_head")
    case(group, f"padding_float_{tag}", cross() | {"key_padding_mask": floats(N, T, infinities=True)}, dtype,
         weights="per_head")
    case(group, f"padding_rank1_{tag}", {"query": R(L, 6), "key": R(T, 6), "key_padding_mask": bits(2, T)}, dtype,
         num_heads=2, weights="per_head")
    case(group, f"padding_and_mask_{tag}",
         cross() | {"key_padding_mask": bits(0, N, T), "attn_mask": bits(0, L, T)}, dtype, weights="per_head")
    case(group, f"padding_and_float_mask_{tag}",
         cross() | {"key_padding_mask": ~bits(0, N, T), "attn_mask": floats(H, L, T)}, dtype,
         mask_convention="ignore", weights="per_head")


def causal(group):
    for l, t in ((5, 5), (4, 7), (7, 4), (1, 6), (6, 1)):
        for alignment in ALIGNMENTS:
            case(group, f"causal_{l}_over_{t}_{alignment}", {"query": R(2, l, 6), "key": R(2, t, 6)}, num_heads=2,
                 is_causal=True, causal_alignment=alignment, weights="per_head")
    for l, t in ((4, 7), (7, 4)):
        case(group, f"causal_default_{l}_over_{t}", {"query": R(2, l, 6), "key": R(2, t, 6)}, num_heads=2,
             is_causal=True, weights="per_head")
    case(group, "causal_false", {"query": R(4, 6)}, is_causal=False)
    case(group, "causal_64", {"query": R(1, 2, 7, 3)}, "float64", is_causal=True, weights="per_head")
    case(group, "causal_and_bool_mask", cross() | {"attn_mask": bits(0, L, T)}, is_causal=True, weights="per_head")
    case(group, "causal_and_float_mask", cross() | {"attn_mask": floats(N, H, L, T)}, is_causal=True)
    case(group, "causal_grouped", {"query": R(1, 4, 9, 8), "key": R(1, 2, 9, 8)}, is_causal=True, weights="per_head")


def windows(group):
    for index, window in enumerate(WINDOWS):
        for is_causal in (False, True):
            case(group, f"window_{index}{'_causal' if is_causal else ''}", {"query": R(1, 2, 7, 4)}, window=window,
                 is_causal=is_causal, weights="per_head")
    for alignment in ALIGNMENTS:
        case(group, f"window_cross_{alignment}", {"query": R(1, 2, 4, 4), "key": R(1, 2, 9, 4)},
             window={"left": 2, "right": 1}, causal_alignment=alignment, weights="per_head")
    case(group, "window_out_of_sight", {"query": R(6, 4), "key": R(2, 4)}, window={"left": 1, "right": 0},
         weights="per_head")
    case(group, "window_with_past", {"query": R(2, 2, 3, 4), "past_key": R(2, 2, 5, 4), "past_value": R(2, 2, 5, 4)},
         window={"left": 3, "right": 0}, weights="per_head")
    case(group, "window_and_mask_64", cross() | {"attn_mask": bits(1, L, T)}, "float64",
         window={"left": 1, "right": 3}, weights="per_head")
    case(group, "window_and_lengths", cross(), window={"left": 2, "right": 0}, key_lengths=[6, 4], weights="per_head")


def key_lengths(group):
    for lengths in ([6, 4], [1, 6], [0, 3], [0, 0], [5, 5]):
        for is_causal in (False, True):
            name = "_".join(map(str, lengths)) + ("_causal" if is_causal else "")
            case(group, f"key_lengths_{name}", cross(), key_lengths=lengths, is_causal=is_causal, weights="per_head")
    for alignment in ALIGNMENTS:
        case(group, f"key_lengths_causal_{alignment}", {"query": R(2, 5, 4)}, num_heads=2, key_lengths=[5, 3],
             is_causal=True, causal_alignment=alignment, weights="per_head")
    case(group, "key_lengths_short_bool_mask", cross() | {"attn_mask": bits(0, L, 4)}, key_lengths=[4, 2],
         weights="per_head")
    case(group, "key_lengths_short_float_mask", cross() | {"attn_mask": floats(H, L, 5)}, key_lengths=[3, 5],
         weights="per_head")
    case(group, "key_lengths_rank2", {"query": R(5, 4)}, key_lengths=[3], weights="per_head")
    case(group, "key_lengths_64", cross(), "float64", key_lengths=[3, 6], weights="per_head")


def segments_and_prefixes(group):
    packed = [[1, 1, 2, 2, 2, 3], [7, 7, 7, -4, -4, -4]]
    for is_causal in (False, True):
        tag = "_causal" if is_causal else ""
        case(group, f"segments{tag}", {"query": R(2, 6, 4)}, num_heads=2, segment_ids=packed, is_causal=is_causal,
             weights="per_head")
    case(group, "segments_rank2", {"query": R(6, 4)}, segment_ids=packed[:1], weights="per_head")
    case(group, "segments_that_come_back_64", {"query": R(1, 6, 4)}, "float64", segment_ids=[[1, 2, 1, 2, 1, 2]],
         weights="per_head")
    case(group, "segments_with_window", {"query": R(2, 6, 4)}, segment_ids=packed, window={"left": 1, "right": 0})
    for prefix in ([2, 4], [0, 6], [1, 1]):
        case(group, f"prefix_{prefix[0]}_{prefix[1]}", {"query": R(2, 6, 4)}, num_heads=2, prefix_length=prefix,
             is_causal=True, weights="per_head")
    case(group, "prefix_without_causal", {"query": R(2, 6, 4)}, prefix_length=[2, 3], weights="per_head")
    case(group, "prefix_with_padding", {"query": R(2, 6, 4), "key_padding_mask": bits(0, 2, 6)}, prefix_length=[3, 5],
         is_causal=True, weights="per_head")
    case(group, "prefix_64", {"query": R(2, 5, 4)}, "float64", prefix_length=[2, 3], is_causal=True)


def past(group):
    for dtype in ("float32", "float64"):
        for is_causal in (False, True):
            tag = ("_causal_" if is_causal else "_") + dtype[5:]
            case(group, f"past_rank4{tag}", {"query": R(2, 4, 3, 5), "key": R(2, 2, 3, 5), "value": R(2, 2, 3, 6),
                                             "past_key": R(2, 2, 4, 5), "past_value": R(2, 2, 4, 6)}, dtype,
                 is_causal=is_causal, return_present=True, weights="per_head")
            case(group, f"past_rank3{tag}", {"query": R(2, 3, 8), "past_key": R(2, 2, 5, 4),
                                             "past_value": R(2, 2, 5, 4)}, dtype,
                 num_heads=2, is_causal=is_causal, return_present=True, weights="per_head")
    case(group, "past_one_new_token", {"query": R(1, 1, 8), "past_key": R(1, 2, 17, 4), "past_value": R(1, 2, 17, 4)},
         num_heads=2, is_causal=True, weights="per_head")
    for alignment in ALIGNMENTS:
        case(group, f"past_causal_{alignment}", {"query": R(2, 3, 8), "key": R(2, 4, 8), "past_key": R(2, 2, 2, 4),
                                                 "past_value": R(2, 2, 2, 4)},
             num_heads=2, is_causal=True, causal_alignment=alignment, weights="per_head")
    case(group, "past_with_mask", {"query": R(1, 3, 8), "past_key": R(1, 2, 2, 4), "past_value": R(1, 2, 2, 4),
                                   "attn_mask": bits(0, 3, 5)}, num_heads=2, weights="per_head")


def scores(group):
    for scale in (1, 0.125, 2.5, 0, -0.75):
        case(group, f"scale_{scale}", cross(), scale=scale, weights="per_head")
    for softcap in (0, 0.5, 2, 50):
        for dtype in ("float32", "float64"):
            case(group, f"softcap_{softcap}_{dtype[5:]}", cross(), dtype, softcap=softcap, weights="per_head")
    case(group, "softcap_causal_and_mask", cross() | {"attn_mask": floats(N, H, L, T, infinities=True)}, softcap=1.5,
         is_causal=True, weights="per_head")
    case(group, "softcap_and_scale", cross(), softcap=1.5, scale=3, weights="per_head")
    for dtype in ("float32", "float64"):
        case(group, f"alibi_{dtype[5:]}", cross(), dtype, alibi_slopes=[0.5, 0.25, 0.125], weights="per_head")
    case(group, "alibi_causal_with_past", {"query": R(1, 2, 3, 4), "past_key": R(1, 2, 4, 4),
                                           "past_value": R(1, 2, 4, 4)},
         alibi_slopes=[0.25, 0.0625], is_causal=True, weights="per_head")
    case(group, "alibi_bottom_right", cross(), alibi_slopes=[1, 0.5, -0.25], causal_alignment="bottom_right")
    case(group, "alibi_and_float_mask", cross() | {"attn_mask": floats(L, T)}, alibi_slopes=[1, 0, 0.3],
         weights="per_head")
    for dtype in ("float32", "float64"):
        case(group, f"sinks_{dtype[5:]}", cross(), dtype, sinks=[0.5, -1, 3], weights="per_head")
    case(group, "sinks_causal_window", {"query": R(1, 2, 7, 4)}, sinks=[1, 2], is_causal=True, window={"left": 2},
         weights="per_head")
    case(group, "sinks_grouped", {"query": R(1, 4, 5, 4), "key": R(1, 2, 5, 4)}, sinks=[1, 2, 0, -1], is_causal=True)
    case(group, "sinks_that_take_all", cross(), sinks=[80, 0, 0], weights="per_head")
    case(group, "sinks_and_empty_rows", cross(), sinks=[1, 0, -1], key_lengths=[0, 4], weights="per_head")


def together(group):
    case(group, "all_together", {"query": R(2, 3, 6, 4), "key": R(2, 1, 6, 4), "attn_mask": floats(H, 6, 6),
                                 "key_padding_mask": bits(0, 2, 6)}, "float64",
         is_causal=True, window={"left": 3}, segment_ids=[[1, 1, 1, 1, 2, 2], [5] * 6], prefix_length=[2, 0],
         scale=0.7, softcap=3, alibi_slopes=[0.5, 0.1, 0.2], sinks=[0, 1, 2], weights=["per_head", "average"],
         internals=["logsumexp", "max_score", "context"])
    case(group, "much_together", {"query": R(2, 5, 6), "key": R(2, 5, 6), "attn_mask": bits(0, N, 1, 5, 5)},
         num_heads=3, is_causal=True, key_lengths=[5, 4], causal_alignment="top_left", window={"left": 2},
         alibi_slopes=[0.5, 0.1, 0.2], weights="per_head")


def make():
    group = Group("masks")
    for dtype in ("float32", "float64"):
        attn_masks(group, dtype)
        padding_masks(group, dtype)
    for part in (causal, windows, key_lengths, segments_and_prefixes, past, scores, together):
        part(group)
    return group
