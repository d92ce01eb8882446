"""What comes back: stages, forms, selections, internals and analyses."""

import numpy as np

from . import analyses
from .build import R, case
from .container import Group

STAGES = ("raw", "softcapped", "masked", "softmax")
FORMS = ("average", "per_head", "concat", "max", "min", "head_weighted")
ANALYSES = [name for name in analyses.TABLE if name not in ("duplicate", "induction", "sink_mass")]
INTERNALS = ["query", "key", "value", "context", "logsumexp", "max_score"]


def self_attention():
    return {"query": R(2, 3, 5, 4)}


def stages(group):
    for stage in STAGES:
        for form in FORMS:
            extra = {"head_weights": [1, 2.5, 0.5]} if form == "head_weighted" else {}
            case(group, f"{stage}_{form}", self_attention(), weights=form, weights_stage=stage, is_causal=True,
                 softcap=0.5, **extra)
        mask = np.where(np.arange(5) < 4, 0.5, -np.inf)
        case(group, f"{stage}_no_softcap", self_attention(), weights="per_head", weights_stage=stage, is_causal=True)
        case(group, f"{stage}_float_mask", self_attention() | {"attn_mask": np.broadcast_to(mask, (5, 5)).copy()},
             weights="per_head", weights_stage=stage)
        case(group, f"{stage}_64", self_attention(), "float64", weights=["per_head", "average"], weights_stage=stage,
             softcap=2, window={"left": 1, "right": 2})
        case(group, f"{stage}_grouped_past", {"query": R(1, 4, 3, 4), "key": R(1, 2, 3, 4),
                                              "past_key": R(1, 2, 2, 4), "past_value": R(1, 2, 2, 4)},
             weights=["max", "min"], weights_stage=stage, is_causal=True)
        case(group, f"{stage}_selected", self_attention(), weights="per_head", weights_stage=stage, heads=[-1, 0],
             query_range=[1, 4], key_range=[2, 5], top_k=2)


def forms(group, dtype):
    tag = dtype[5:]
    extra = {"average": {}, "per_head": {}, "concat": {}, "max": {}, "min": {}, "head_weighted":
             {"head_weights": [0.2, 0.3, 0.1, 3]}, "value_norm": {}, "pca": {"components": 2}}
    for form, options in extra.items():
        case(group, f"{form}_{tag}", {"query": R(2, 5, 8), "key": R(2, 7, 8)}, dtype, num_heads=4, weights=form,
             **options)
        case(group, f"{form}_rank2_{tag}", {"query": R(6, 8)}, dtype, num_heads=4, weights=form, **options)
        case(group, f"{form}_cut_{tag}", {"query": R(2, 5, 8), "key": R(2, 7, 8)}, dtype, num_heads=4, weights=form,
             query_range=[1, 3], key_range=[2, 7], **options)
        if form not in ("concat", "pca"):
            case(group, f"{form}_top_k_{tag}", {"query": R(2, 5, 8), "key": R(2, 7, 8)}, dtype, num_heads=4,
                 weights=form, top_k=3, **options)
    every = [form for form in extra if form != "pca"]
    case(group, f"every_form_at_once_{tag}", {"query": R(2, 5, 8)}, dtype, num_heads=4, weights=every,
         head_weights=[1, 1, 2, 0.5], is_causal=True)


def pca(group):
    for heads, components in ((8, 3), (3, 3), (1, 1), (12, 2)):
        case(group, f"pca_{components}_of_{heads}", {"query": R(1, heads, 9, 4)}, "float64", weights="pca",
             components=components)
    case(group, "pca_by_default", {"query": R(2, 4, 8, 4)}, weights="pca")
    case(group, "pca_of_chosen_heads", {"query": R(1, 6, 8, 4)}, weights=["pca", "average"], components=2,
         heads=[5, 0, 2])
    case(group, "pca_causal", {"query": R(1, 4, 8, 4)}, weights="pca", components=2, is_causal=True)


def selections(group):
    shape = {"query": R(2, 4, 5, 4), "key": R(2, 4, 7, 4)}
    for name, heads in (("one", [2]), ("reversed", [3, 2, 1, 0]), ("negative", [-1, -3]), ("all", [0, 1, 2, 3])):
        case(group, f"heads_{name}", dict(shape), weights=["per_head", "average", "max"], heads=heads)
    case(group, "heads_concat", dict(shape), weights="concat", heads=[3, 1])
    case(group, "heads_weighted", dict(shape), weights="head_weighted", heads=[3, 1], head_weights=[1, 3])
    case(group, "heads_value_norm", dict(shape), weights="value_norm", heads=[3, 1])
    case(group, "heads_value_norm_grouped", {"query": R(1, 4, 5, 4), "key": R(1, 2, 7, 4)}, weights="value_norm",
         heads=[3, 1])
    for name, ranges in (("first_row", {"query_range": [0, 1]}), ("last_row", {"query_range": [4, 5]}),
                         ("whole", {"query_range": [0, 5], "key_range": [0, 7]}), ("column", {"key_range": [3, 4]}),
                         ("corner", {"query_range": [3, 5], "key_range": [5, 7]})):
        case(group, f"range_{name}", dict(shape), weights=["per_head", "average", "concat"], **ranges)
        case(group, f"range_{name}_causal", dict(shape), weights=["per_head", "average"], is_causal=True, **ranges)
    for k in (1, 3, 7, 100):
        case(group, f"top_{k}", dict(shape), weights=["per_head", "average"], top_k=k)
    case(group, "top_k_with_key_range", dict(shape), weights="average", top_k=2, key_range=[3, 6])
    case(group, "top_k_ties_to_the_lower_key", dict(shape), weights="per_head", top_k=6, is_causal=True)
    case(group, "top_k_of_equal_weights", {"query": np.zeros((3, 4)), "key": R(5, 4)}, weights="per_head", top_k=4)
    case(group, "top_k_64", dict(shape), "float64", weights="average", top_k=4)


def internals(group):
    for dtype in ("float32", "float64"):
        tag = dtype[5:]
        case(group, f"internals_rank4_{tag}", {"query": R(2, 4, 3, 5), "key": R(2, 2, 6, 5), "value": R(2, 2, 6, 3)},
             dtype, internals=INTERNALS)
        case(group, f"internals_rank3_{tag}", {"query": R(2, 3, 8)}, dtype, num_heads=4, internals=INTERNALS)
        case(group, f"internals_rank2_{tag}", {"query": R(3, 8)}, dtype, num_heads=2, internals=INTERNALS,
             is_causal=True)
    for name in INTERNALS:
        case(group, f"internal_{name}", {"query": R(1, 2, 3, 4)}, internals=[name], weights="none",
             return_output=False)
    case(group, "internals_past", {"query": R(1, 2, 3, 4), "past_key": R(1, 2, 2, 4), "past_value": R(1, 2, 2, 4)},
         internals=INTERNALS, is_causal=True)
    case(group, "internals_of_empty_rows", {"query": R(2, 2, 3, 4)}, internals=["context", "logsumexp", "max_score"],
         key_lengths=[0, 2])


def analysed(group):
    for dtype in ("float32", "float64"):
        tag = dtype[5:]
        case(group, f"analyses_{tag}", {"query": R(2, 4, 6, 4)}, dtype, analyses=ANALYSES)
        case(group, f"analyses_rank2_{tag}", {"query": R(7, 6)}, dtype, num_heads=3, analyses=ANALYSES,
             weights="none")
        case(group, f"analyses_causal_{tag}", {"query": R(2, 3, 6, 4)}, dtype, analyses=ANALYSES, is_causal=True)
        case(group, f"analyses_cross_{tag}", {"query": R(2, 3, 4, 4), "key": R(2, 3, 9, 4)}, dtype, analyses=ANALYSES)
        case(group, f"analyses_bottom_right_{tag}", {"query": R(2, 3, 4, 4), "key": R(2, 3, 9, 4)}, dtype,
             analyses=ANALYSES, causal_alignment="bottom_right", is_causal=True)
        case(group, f"sink_mass_{tag}", {"query": R(2, 3, 4, 4), "key": R(2, 3, 9, 4)}, dtype,
             analyses=["sink_mass", "entropy", "received", "sink", "head_confidence"], sinks=[0, 1, 2])
    for name in ANALYSES:
        case(group, f"analysis_{name}", {"query": R(2, 6, 6)}, num_heads=3, analyses=[name], weights="none",
             return_output=False)
    case(group, "analyses_of_chosen_heads", {"query": R(1, 4, 6, 4)}, analyses=ANALYSES, heads=[3, 0, 1])
    case(group, "analyses_past", {"query": R(1, 2, 3, 4), "past_key": R(1, 2, 4, 4), "past_value": R(1, 2, 4, 4)},
         analyses=ANALYSES, is_causal=True)
    padding = np.array([[False, False, True, True, True, False], [True, True, True, False, False, True]])
    case(group, "analyses_padding", {"query": R(2, 3, 4, 4), "key": R(2, 3, 6, 4), "key_padding_mask": padding},
         analyses=["entropy", "head_distance", "head_confidence", "received", "sink"])
    mask = np.tri(6, dtype=bool)
    mask[[0, 3]] = False
    case(group, "analyses_with_empty_rows", {"query": R(2, 3, 6, 4), "attn_mask": mask},
         analyses=["mean_distance", "head_distance", "head_confidence", "received", "diagonal", "previous", "next"])
    case(group, "analyses_long", {"query": R(65, 6)}, num_heads=3, analyses=ANALYSES, weights="none",
         return_output=False)


def make():
    group = Group("weights")
    stages(group)
    for dtype in ("float32", "float64"):
        forms(group, dtype)
    for part in (pca, selections, internals, analysed):
        part(group)
    return group
