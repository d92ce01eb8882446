"""Ranks, heads, head widths and lengths."""

from .build import R, case
from .container import Group

LENGTHS = (1, 2, 3, 5, 7, 16, 17, 31, 33, 63, 65, 127, 129)
WIDTHS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256)
GROUPED = ((2, 1), (4, 2), (6, 2), (6, 3), (8, 1), (12, 4))
ALL = ["average", "per_head"]


def ranks(group, dtype):
    tag = dtype[5:]
    for heads in (1, 2, 4):
        case(group, f"rank2_self_h{heads}_{tag}", {"query": R(5, 8)}, dtype, num_heads=heads, weights=ALL)
        case(group, f"rank3_self_h{heads}_{tag}", {"query": R(2, 5, 8)}, dtype, num_heads=heads, weights=ALL)
        case(group, f"rank4_self_h{heads}_{tag}", {"query": R(2, heads, 5, 4)}, dtype, weights=ALL)
    case(group, f"rank2_one_head_by_default_{tag}", {"query": R(4, 6)}, dtype)
    case(group, f"rank2_cross_{tag}", {"query": R(4, 6), "key": R(7, 6)}, dtype, num_heads=2, weights="per_head")
    case(group, f"rank3_cross_{tag}", {"query": R(3, 4, 6), "key": R(3, 7, 6), "value": R(3, 7, 10)}, dtype,
         num_heads=2, weights=ALL)
    case(group, f"rank4_wider_value_{tag}", {"query": R(2, 3, 4, 5), "key": R(2, 3, 6, 5), "value": R(2, 3, 6, 9)},
         dtype, weights=ALL)
    case(group, f"rank4_narrower_value_{tag}", {"query": R(1, 2, 4, 8), "key": R(1, 2, 6, 8), "value": R(1, 2, 6, 1)},
         dtype, num_heads=2)
    case(group, f"rank2_no_output_{tag}", {"query": R(4, 6)}, dtype, return_output=False)
    case(group, f"rank2_no_weights_{tag}", {"query": R(4, 6)}, dtype, num_heads=3, weights="none")


def heads(group, dtype):
    tag = dtype[5:]
    for H, Hkv in GROUPED:
        case(group, f"grouped_{H}_over_{Hkv}_rank4_{tag}", {"query": R(2, H, 3, 4), "key": R(2, Hkv, 5, 4)}, dtype,
             weights=ALL)
        case(group, f"grouped_{H}_over_{Hkv}_rank3_{tag}",
             {"query": R(2, 3, H * 4), "key": R(2, 5, Hkv * 4), "value": R(2, 5, Hkv * 3)}, dtype,
             num_heads=H, num_kv_heads=Hkv, weights=ALL)
    case(group, f"grouped_rank2_{tag}", {"query": R(3, 12), "key": R(5, 6)}, dtype, num_heads=4, num_kv_heads=2)


def widths(group):
    for D in WIDTHS:
        case(group, f"head_width_{D}", {"query": R(1, 2, 5, D), "key": R(1, 2, 7, D)}, weights="per_head")
    for D in (1, 17, 64, 256):
        case(group, f"head_width_{D}_64", {"query": R(1, 2, 5, D), "key": R(1, 2, 7, D)}, "float64",
             weights="per_head")


def lengths(group):
    for L in LENGTHS:
        cut = {"query_range": [L - 3, L]} if L > 33 else {}
        case(group, f"length_{L}", {"query": R(L, 4)}, num_heads=2, weights="average", **cut)
        case(group, f"length_{L}_causal", {"query": R(L, 6)}, num_heads=2, is_causal=True, **cut)
    for L, T in ((1, 129), (129, 1), (3, 65), (65, 3), (17, 5), (33, 127), (2, 256), (1, 1)):
        cut = {"query_range": [L // 2, L // 2 + 1]} if L > 17 else {}
        case(group, f"length_{L}_over_{T}", {"query": R(1, L, 4), "key": R(1, T, 4)}, num_heads=2, weights=ALL, **cut)
    for L in (1, 7, 33, 65, 129):
        cut = {"query_range": [L - 1, L]} if L > 17 else {}
        case(group, f"length_{L}_64", {"query": R(L, 4)}, "float64", num_heads=2, weights="per_head", **cut)


def well_known(group):
    case(group, "twelve_heads_of_64", {"query": R(1, 17, 768)}, num_heads=12, weights=ALL)
    case(group, "twelve_heads_of_64_batch", {"query": R(2, 9, 768), "key": R(2, 13, 768)}, num_heads=12, weights=ALL,
         is_causal=True, causal_alignment="bottom_right")
    case(group, "eight_heads_of_64_cut", {"query": R(1, 65, 512)}, num_heads=8, weights="per_head", heads=[3],
         query_range=[30, 33], internals=["logsumexp"])
    case(group, "longest_none", {"query": R(300, 2)}, weights="none", internals=["logsumexp", "max_score"])
    case(group, "longest_causal", {"query": R(300, 4)}, num_heads=2, is_causal=True, query_range=[297, 300])
    case(group, "longest_window", {"query": R(300, 4)}, num_heads=2, window={"left": 40, "right": 3},
         query_range=[100, 102])
    case(group, "longest_64", {"query": R(300, 2)}, "float64", query_range=[299, 300])
    case(group, "one_token_one_head", {"query": R(1, 1)}, weights=ALL)
    case(group, "one_token_one_head_64", {"query": R(1, 1)}, "float64", weights=ALL)
    case(group, "many_small_items", {"query": R(9, 2, 6)}, num_heads=3, weights=ALL)


def make():
    group = Group("shapes")
    for dtype in ("float32", "float64"):
        ranks(group, dtype)
        heads(group, dtype)
    widths(group)
    lengths(group)
    well_known(group)
    return group
