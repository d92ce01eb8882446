"""Multi-head attention with weights: torch.nn.MultiheadAttention in all variants, and hand-written modules."""

import numpy as np

from .build import R, case
from .container import Group
from .group_masks import bits, floats
from .params import hand_written, torch_mha

E, H = 8, 2
BOTH = ["average", "per_head"]

VARIANTS = {
    "mha": {},
    "mha_no_bias": {"bias": False},
    "mha_kdim_vdim": {"kdim": 6, "vdim": 5},
    "mha_kdim_vdim_no_bias": {"kdim": 6, "vdim": 5, "bias": False},
    "mha_bias_kv": {"add_bias_kv": True},
    "mha_zero_attn": {"add_zero_attn": True},
    "mha_bias_kv_zero_attn": {"add_bias_kv": True, "add_zero_attn": True},
    "mha_everything": {"kdim": 6, "vdim": 5, "add_bias_kv": True, "add_zero_attn": True},
}
HAND_WRITTEN = {
    "linear": ("q_linear", "k_linear", "v_linear", "out_linear"),
    "proj": ("q_proj", "k_proj", "v_proj", "out_proj"),
    "w": ("wq", "wk", "wv", "wo"),
    "words": ("query", "key", "value", "out"),
}


def cross(options, L=4, T=5, N=2):
    return {"query": R(N, L, E), "key": R(N, T, options.get("kdim", E)), "value": R(N, T, options.get("vdim", E))}


def variants(group, dtype):
    tag = dtype[5:]
    for name, options in VARIANTS.items():
        state = torch_mha(f"{name}_{tag}" if dtype == "float64" else name, E, H, dtype, **options)
        zero = {"add_zero_attn": True} if options.get("add_zero_attn") else {}
        asked = {"num_heads": H, **zero}
        if "kdim" not in options:
            case(group, f"{name}_self_{tag}", {"query": R(2, 5, E), "params": state}, dtype, weights=BOTH, **asked)
            case(group, f"{name}_rank2_{tag}", {"query": R(5, E), "params": state}, dtype, weights="per_head", **asked)
        case(group, f"{name}_cross_{tag}", cross(options) | {"params": state}, dtype, weights=BOTH, **asked)
        case(group, f"{name}_padding_{tag}", cross(options) | {"params": state, "key_padding_mask": ~bits(0, 2, 5)},
             dtype, weights="per_head", mask_convention="ignore", **asked)
        case(group, f"{name}_bool_mask_{tag}", cross(options) | {"params": state, "attn_mask": ~bits(0, 4, 5)}, dtype,
             weights="per_head", mask_convention="ignore", **asked)
        case(group, f"{name}_float_mask_{tag}", cross(options) | {"params": state, "attn_mask": floats(4, 5)}, dtype,
             weights="per_head", **asked)
        case(group, f"{name}_item_times_heads_{tag}",
             cross(options) | {"params": state, "attn_mask": ~bits(0, 2 * H, 4, 5)}, dtype, weights="per_head",
             mask_convention="ignore", **asked)
        case(group, f"{name}_causal_{tag}", cross(options) | {"params": state}, dtype, weights="per_head",
             is_causal=True, **asked)


def hand_written_modules(group):
    for name, names in HAND_WRITTEN.items():
        state = hand_written(f"hand_written_{name}", names, E, H)
        case(group, f"{name}_self", {"query": R(2, 5, E), "params": state}, num_heads=H, weights=BOTH)
        case(group, f"{name}_cross_causal", cross({}) | {"params": state}, num_heads=H, weights="per_head",
             is_causal=True)
    names = HAND_WRITTEN["linear"]
    state = hand_written("hand_written_no_bias", names, E, H, bias=False)
    case(group, "linear_no_bias", {"query": R(2, 5, E), "params": state}, num_heads=H, weights=BOTH)
    state = hand_written("hand_written_float64", names, E, 4, dtype="float64")
    case(group, "linear_64", {"query": R(2, 5, E), "params": state}, "float64", num_heads=4, weights=BOTH)
    for kv_heads in (1, 2):
        state = hand_written(f"hand_written_grouped_{kv_heads}", names, E, 4, kv_heads=kv_heads)
        case(group, f"linear_grouped_{kv_heads}", {"query": R(2, 5, E), "params": state}, num_heads=4,
             num_kv_heads=kv_heads, weights=BOTH + ["output_norm", "value_norm"],
             internals=["query", "key", "value", "context"])
    state = hand_written("hand_written_wide_value", names, E, 2, value_width=3)
    case(group, "linear_value_of_another_width", {"query": R(2, 5, E), "params": state}, num_heads=2, weights=BOTH)


def the_rest(group):
    state = torch_mha("mha_forms", 12, 3)
    plain = {"query": R(2, 6, 12), "params": state}
    asked = {"num_heads": 3}
    case(group, "mha_every_form", dict(plain), weights=["average", "per_head", "concat", "max", "min", "head_weighted",
                                                        "value_norm", "output_norm"], head_weights=[1, 2, 3], **asked)
    case(group, "mha_output_norm_chosen", dict(plain), weights="output_norm", heads=[2, 0], query_range=[1, 3],
         key_range=[2, 6], **asked)
    case(group, "mha_pca", dict(plain), weights="pca", components=2, **asked)
    for stage in ("raw", "softcapped", "masked"):
        case(group, f"mha_{stage}", dict(plain), weights="per_head", weights_stage=stage, is_causal=True, softcap=1.5,
             **asked)
    case(group, "mha_internals", dict(plain), internals=["query", "key", "value", "context", "logsumexp", "max_score"],
         **asked)
    case(group, "mha_analyses", dict(plain), analyses=["entropy", "mean_distance", "head_distance", "head_confidence",
                                                       "received", "sink", "diagonal", "previous", "next"], **asked)
    case(group, "mha_past", dict(plain) | {"past_key": R(2, 3, 4, 4), "past_value": R(2, 3, 4, 4)}, is_causal=True,
         return_present=True, weights="per_head", **asked)
    case(group, "mha_window_scale_sinks", dict(plain), window={"left": 2}, scale=0.25, sinks=[1, 0, -1],
         weights="per_head", **asked)
    empty = np.ones((6, 6), bool)
    empty[[1, 4]] = False
    case(group, "mha_empty_rows_give_the_output_bias", dict(plain) | {"attn_mask": empty}, mask_convention="attend",
         weights="per_head", **asked)
    case(group, "mha_top_k", dict(plain), weights=["per_head", "average"], top_k=2, **asked)
    state = torch_mha("mha_one_head", 5, 1)
    case(group, "mha_one_token_one_head", {"query": R(1, 5), "params": state}, num_heads=1, weights=BOTH)
    state = torch_mha("mha_width_of_one", 4, 4)
    case(group, "mha_head_width_of_one", {"query": R(2, 3, 4), "params": state}, num_heads=4, weights=BOTH)
    state = torch_mha("mha_wide", 96, 12)
    case(group, "mha_twelve_heads", {"query": R(1, 17, 96), "params": state}, num_heads=12, weights=BOTH)


def make():
    group = Group("params")
    for dtype in ("float32", "float64"):
        variants(group, dtype)
    hand_written_modules(group)
    the_rest(group)
    return group
