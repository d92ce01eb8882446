"""From everything of one computation to what a request asks for: paths such as weights.average, each with its source."""

import numpy as np
import torch

from . import analyses

LAST_AXIS_IS_KEYS = {"average", "per_head", "max", "min", "head_weighted", "value_norm", "output_norm"}


def listed(given):
    return [given] if isinstance(given, str) else list(given)


def chosen(request, field, count):
    return [index % count for index in request.get(field, range(count))]


def form_of(name, request, weights, solution, heads):
    """One form of weights (N, chosen heads, L, T): (source, array)."""
    if name == "per_head":
        return "torch", weights
    if name == "concat":
        return "torch", weights.transpose(0, 2, 3, 1)
    if name == "head_weighted":
        shares = np.array(request["head_weights"], np.float64)
        return "numpy", np.einsum("nhlt,h->nlt", weights, shares / shares.sum())
    if name == "value_norm":
        norms = np.linalg.norm(grouped(solution.value, solution)[:, heads], axis=-1)
        return "numpy", np.abs(weights) * norms[:, :, None, :]
    if name == "output_norm":
        return "numpy", np.abs(weights) * output_norms(solution)[:, heads, None, :]
    return "numpy", {"average": np.mean, "max": np.max, "min": np.min}[name](weights, axis=1)


def grouped(tensor, solution):
    return np.repeat(tensor, solution.query.shape[1] // tensor.shape[1], axis=1)


def output_norms(solution):
    """The norm of each key's value through its head's part of the output projection: (N, H, T)."""
    value = grouped(solution.value, solution)
    N, H, T, Dv = value.shape
    blocks = solution.out_weight.reshape(-1, H, Dv)
    return np.linalg.norm(np.einsum("nhtd,ehd->nhte", value, blocks), axis=-1)


def cut(request, values, rows, columns):
    """query_range and key_range on the given axes."""
    for field, axis in (("query_range", rows), ("key_range", columns)):
        if field in request:
            start, end = request[field]
            values = values.take(range(start, end), axis=axis)
    return values


def largest(values, k, first_key):
    """The k largest of each row, ties to the lower key; the order must not hang on rounding."""
    order = np.argsort(-values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, -1)[..., : k + 1]
    with np.errstate(invalid="ignore"):
        gaps = ordered[..., :-1] - ordered[..., 1:]
    equal = ordered[..., :-1] == ordered[..., 1:]
    if (gaps[~equal] < 1e-6).any():
        raise ValueError("two keys are too close to each other for a golden case of top_k")
    order = order[..., :k]
    return np.take_along_axis(values, order, -1), (order + first_key).astype(np.int64)


def put(answers, request, path, source, values):
    if "top_k" in request:
        first_key = request.get("key_range", [0])[0]
        kept, indices = largest(values, request["top_k"], first_key)
        answers[f"{path}.values"], answers[f"{path}.indices"] = (source, kept), (source, indices)
    else:
        answers[path] = source, values


def weights_answers(answers, prefix, request, weights, solution, heads):
    """All forms of one layer's (N, H, L, T); batch axis kept."""
    for name in listed(request.get("weights", "average")):
        if name in ("none", "rollout", "flow"):
            continue
        picked = weights[:, heads]
        if name == "pca":
            scores, loadings, ratios = analyses.pca(picked, request.get("components", 3))
            answers[f"{prefix}weights.pca"] = "sklearn", cut(request, scores, 1, 2)
            answers[f"{prefix}pca_loadings"] = "sklearn", loadings
            answers[f"{prefix}explained_variance_ratio"] = "sklearn", ratios
            continue
        source, values = form_of(name, request, picked, solution, heads)
        rows = values.ndim - 2 if name in LAST_AXIS_IS_KEYS else 1
        put(answers, request, f"{prefix}weights.{name}", source, cut(request, values, rows, rows + 1))


def analysis_answers(answers, prefix, request, weights, bias, offset, heads, tokens=None):
    rows = analyses.Rows(weights[:, heads], bias[:, heads], offset, tokens)
    for name in request.get("analyses", []):
        answers[f"{prefix}analyses.{name}"] = analyses.TABLE[name](rows)


def internal_answers(answers, request, solution):
    masked = solution.stages["masked"]
    top = masked.max(-1)
    logsumexp = torch.logsumexp(torch.from_numpy(masked), -1).numpy()
    everything = {"query": solution.query, "key": solution.key, "value": solution.value,
                  "context": solution.context, "max_score": top, "logsumexp": logsumexp}
    for name in request.get("internals", []):
        answers[f"internals.{name}"] = "torch", everything[name]


def answer(request, solution, batched):
    """{path: (source, array)} of a request that was solved."""
    answers = {}
    heads = chosen(request, "heads", solution.query.shape[1])
    stage = solution.stages[request.get("weights_stage", "softmax")]
    if request.get("return_output", True):
        answers["output"] = "torch", solution.output
    weights_answers(answers, "", request, stage, solution, heads)
    analysis_answers(answers, "", request, solution.stages["softmax"], solution.bias, solution.offset, heads)
    internal_answers(answers, request, solution)
    if request.get("return_present"):
        answers["present_key"], answers["present_value"] = [("torch", joined) for joined in solution.present]
    return answers if batched else without_batch(answers)


def without_batch(answers):
    return {path: (source, values[0]) for path, (source, values) in answers.items()}
