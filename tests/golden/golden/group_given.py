"""Weights that were computed elsewhere: forms, analyses, rollout and flow."""

import numpy as np
import torch

from . import analyses, answers, container
from .build import R
from .container import Group

TOKENS = [["the", "cat", "saw", "the", "cat", "saw"], ["a", "a", "b", "a", "c", "b"]]
ANALYSES = ["entropy", "mean_distance", "head_distance", "head_confidence", "received", "sink", "diagonal", "previous",
            "next"]


def softmaxed(*shape, causal=False):
    scores = torch.from_numpy(R(*shape).array("float32").astype(np.float64))
    if causal:
        scores = scores.masked_fill(~torch.ones(shape[-2:], dtype=torch.bool).tril(), -torch.inf)
    return torch.softmax(scores, -1).numpy()


def case(group, name, matrix, dtype="float32", /, **request):
    if dtype == "float64":
        request["dtype"] = "float64"
    stored = container.array_of(matrix, dtype)
    found = answer(request, stored.astype(np.float64))
    group.add(name, dtype, request, {"attention_weights": matrix}, None, found, [])


def answer(request, weights):
    """{path: (source, array)} for weights of rank 3, 4 or 5."""
    if request.get("layout") == "HNLS":
        weights = weights.swapaxes(-4, -3)
    rank, found = weights.ndim, {}
    layers = weights.reshape((1,) * (5 - rank) + weights.shape)
    heads = answers.chosen(request, "heads", layers.shape[2])
    if "pairs" in request:
        for layer, head in request["pairs"]:
            layer, head = layer % layers.shape[0], head % layers.shape[2]
            found[f"pairs.{layer}.{head}.weights.average"] = "numpy", answers.cut(request, layers[layer][:, head], 1, 2)
        return found
    for layer in answers.chosen(request, "layers", layers.shape[0]):
        one_layer(found, f"layers.{layer}." if rank == 5 else "", request, layers[layer], heads)
    for name in answers.listed(request.get("weights", "average")):
        if name in ("rollout", "flow"):
            function = {"rollout": analyses.rollout, "flow": analyses.flow}[name]
            fusion = request.get("rollout", {}).get("head_fusion", "mean")
            source = {"rollout": "torch", "flow": "networkx"}[name]
            found[f"weights.{name}"] = source, function(layers[:, :, heads], fusion)
    return answers.without_batch(found) if rank == 3 else found


def one_layer(found, prefix, request, weights, heads):
    names = request.get("weights", "average")
    answers.weights_answers(found, prefix, {**request, "weights": names}, weights, None, heads)
    N, H, L, T = weights.shape
    bias = np.where((weights != 0).any(-1, keepdims=True), np.zeros_like(weights), -np.inf)
    answers.analysis_answers(found, prefix, request, weights, bias, np.zeros(N, int), heads, tokens_of(request, N, T))


def tokens_of(request, N, T):
    if "tokens" not in request:
        return None
    numbers = {}

    def number(lists):
        return np.array([[numbers.setdefault(token, len(numbers)) for token in item] for item in lists])

    query = number(request["tokens"])
    return query, number(request.get("key_tokens", request["tokens"]))


def forms(group, dtype):
    tag = dtype[5:]
    for name, shape in (("rank3", (3, 4, 6)), ("rank4", (2, 3, 4, 6)), ("rank5", (2, 2, 3, 4, 6))):
        case(group, f"{name}_forms_{tag}", softmaxed(*shape), dtype, head_weights=[1, 0.5, 2],
             weights=["average", "per_head", "concat", "max", "min", "head_weighted"])
        case(group, f"{name}_pca_{tag}", softmaxed(*shape), dtype, weights="pca", components=2)
        case(group, f"{name}_cut_{tag}", softmaxed(*shape), dtype, weights=["per_head", "max"], heads=[2, 0],
             query_range=[1, 3], key_range=[2, 6])
        case(group, f"{name}_top_k_{tag}", softmaxed(*shape), dtype, weights=["average", "per_head"], top_k=2)
        case(group, f"{name}_analyses_{tag}", softmaxed(*shape), dtype, analyses=ANALYSES)
    case(group, f"layout_rank4_{tag}", softmaxed(3, 2, 4, 6), dtype, layout="HNLS", weights=["average", "per_head"])
    case(group, f"layout_rank5_{tag}", softmaxed(2, 3, 2, 4, 6), dtype, layout="HNLS", weights="per_head")
    case(group, f"layers_{tag}", softmaxed(4, 1, 2, 3, 3), dtype, layers=[-1, 0], weights=["average", "per_head"])
    case(group, f"pairs_{tag}", softmaxed(3, 2, 4, 3, 5), dtype, pairs=[[0, 1], [2, -1], [0, 0]])
    case(group, f"pairs_cut_{tag}", softmaxed(3, 1, 4, 3, 5), dtype, pairs=[[-1, 3]], query_range=[1, 3],
         key_range=[0, 2])
    rows = softmaxed(2, 4, 6)
    rows[:, 1] = 0
    case(group, f"rows_of_zeros_{tag}", rows, dtype, weights="per_head", analyses=ANALYSES)
    case(group, f"rows_that_do_not_sum_to_one_{tag}", 3 * softmaxed(2, 4, 6), dtype, weights=["average", "max"])


def tokens(group, dtype):
    tag = dtype[5:]
    both = ["duplicate", "induction"]
    case(group, f"tokens_{tag}", softmaxed(2, 3, 6, 6), dtype, tokens=TOKENS, analyses=both, weights="none")
    case(group, f"tokens_causal_{tag}", softmaxed(2, 3, 6, 6, causal=True), dtype, tokens=TOKENS, analyses=both,
         weights="none")
    case(group, f"tokens_layers_{tag}", softmaxed(3, 2, 3, 6, 6), dtype, tokens=TOKENS, analyses=both, weights="none")


def across_layers(group, dtype):
    tag = dtype[5:]
    for fusion in ("mean", "max", "min"):
        case(group, f"rollout_{fusion}_{tag}", softmaxed(4, 2, 3, 7, 7), dtype, weights="rollout",
             rollout={"head_fusion": fusion})
    case(group, f"rollout_by_default_{tag}", softmaxed(12, 1, 12, 9, 9), dtype, weights="rollout")
    case(group, f"rollout_of_chosen_heads_{tag}", softmaxed(3, 1, 4, 5, 5), dtype, weights="rollout", heads=[3, 1])
    case(group, f"rollout_causal_{tag}", softmaxed(4, 1, 2, 6, 6, causal=True), dtype, weights=["rollout", "average"])
    case(group, f"rollout_one_layer_{tag}", softmaxed(1, 1, 2, 4, 4), dtype, weights="rollout")
    for layers, L in ((1, 3), (2, 4), (3, 5), (4, 6)):
        case(group, f"flow_{layers}_layers_{tag}", softmaxed(layers, 2, 2, L, L), dtype, weights="flow")
        case(group, f"flow_causal_{layers}_layers_{tag}", softmaxed(layers, 1, 2, L, L, causal=True), dtype,
             weights="flow")
    case(group, f"flow_and_rollout_{tag}", softmaxed(3, 1, 3, 5, 5), dtype, weights=["flow", "rollout", "per_head"])


def make():
    group = Group("given")
    for dtype in ("float32", "float64"):
        forms(group, dtype)
        tokens(group, dtype)
        across_layers(group, dtype)
    return group
