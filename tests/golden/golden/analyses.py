"""Analyses by SciPy, PCA by scikit-learn, flow by networkx; what is a mere mean or a cut is left to NumPy."""

import networkx
import numpy as np
import scipy.spatial.distance
import scipy.special
import sklearn.decomposition
import torch


class Rows:
    """Softmax weights of the chosen heads with what says which rows count: (N, H, L, T)."""

    def __init__(self, weights, bias, offset, tokens=None):
        self.weights, self.bias, self.offset, self.tokens = weights, bias, offset, tokens
        self.used = (~np.isneginf(bias)).any(-1)

    def mean(self, values, rows=None):
        """Mean over rows (axis 2) of values (N, H, L, ...), over the rows that attend to something."""
        rows = self.used if rows is None else self.used & rows
        extra = values.ndim - 3
        count = np.maximum(rows.sum(2), 1).reshape(rows.shape[:2] + (1,) * extra)
        return np.where(rows.reshape(rows.shape + (1,) * extra), values, 0).sum(2) / count

    def places(self):
        return np.arange(self.weights.shape[2])[None, :] + np.asarray(self.offset)[:, None]

    def at(self, shift):
        """Mean weight on the key at the query's own place, shifted, over rows where there is such a key."""
        N, H, L, T = self.weights.shape
        place = self.places() + shift
        exists = ((place >= 0) & (place < T))[:, None, :]
        index = np.broadcast_to(np.clip(place, 0, T - 1)[:, None, :, None], (N, H, L, 1))
        return self.mean(np.take_along_axis(self.weights, index, -1)[..., 0], exists)


def entropy(rows):
    return "scipy", scipy.special.entr(rows.weights).sum(-1)


def mean_distance(rows):
    T = rows.weights.shape[3]
    away = np.abs(rows.places()[:, None, :, None] - np.arange(T))
    return "numpy", rows.mean((rows.weights * away).sum(-1))


def head_distance(rows):
    N, H, L, _ = rows.weights.shape
    answer = np.zeros((N, H, H))
    for n in range(N):
        for a in range(H):
            for b in range(H):
                used = np.flatnonzero(rows.used[n, a] & rows.used[n, b])
                answer[n, a, b] = np.mean([scipy.spatial.distance.jensenshannon(
                    rows.weights[n, a, i], rows.weights[n, b, i]) for i in used]) if a != b else 0
    return "scipy", answer


def head_confidence(rows):
    return "numpy", rows.mean(rows.weights.max(-1))


def received(rows):
    return "numpy", rows.mean(rows.weights)


def sink(rows):
    first = (~np.isneginf(rows.bias)).any(axis=(1, 2)).argmax(-1)
    index = np.broadcast_to(first[:, None, None, None], rows.weights.shape[:3] + (1,))
    return "numpy", rows.mean(np.take_along_axis(rows.weights, index, -1)[..., 0])


def sink_mass(rows):
    return "numpy", 1 - rows.weights.sum(-1)


def same_token(rows):
    """Which keys hold the query's token at an earlier place: (N, 1, L, T)."""
    query, key = rows.tokens
    earlier = np.arange(key.shape[1]) < rows.places()[:, :, None]
    return ((query[:, :, None] == key[:, None, :]) & earlier)[:, None]


def token_mean(rows, places):
    """Over the rows whose token stands earlier too, as Olsson et al. score only the repeats."""
    return rows.mean((rows.weights * places).sum(-1), same_token(rows).any(-1))


def duplicate(rows):
    return "numpy", token_mean(rows, same_token(rows))


def induction(rows):
    after = np.zeros_like(same_token(rows))
    after[..., 1:] = same_token(rows)[..., :-1]
    return "numpy", token_mean(rows, after)


TABLE = {"entropy": entropy, "mean_distance": mean_distance, "head_distance": head_distance,
         "head_confidence": head_confidence, "received": received, "sink": sink, "sink_mass": sink_mass,
         "diagonal": lambda rows: ("numpy", rows.at(0)), "previous": lambda rows: ("numpy", rows.at(-1)),
         "next": lambda rows: ("numpy", rows.at(1)), "duplicate": duplicate, "induction": induction}


def pca(weights, components):
    """Scores (N, L, T, components), loadings and ratios; cells are samples, heads features."""
    N, H, L, T = weights.shape
    scores, loadings, ratios = [], [], []
    for item in weights:
        cells = item.reshape(H, L * T).T
        fit = sklearn.decomposition.PCA(components, svd_solver="full").fit(cells)
        largest = np.abs(fit.components_).argmax(1)
        sign = np.sign(fit.components_[np.arange(components), largest])
        variance = np.append(fit.explained_variance_, 0)
        if (variance[:-1] - variance[1:]).min() < 1e-3 * variance[0] and components < H:
            raise ValueError("components too close to each other for a golden case")
        scores.append((fit.transform(cells) * sign).reshape(L, T, components))
        loadings.append(fit.components_ * sign[:, None])
        ratios.append(fit.explained_variance_ratio_)
    return np.array(scores), np.array(loadings), np.array(ratios)


def residual(weights, fusion):
    """A of Abnar and Zuidema for each layer: (layers, N, L, L) from (layers, N, H, L, L)."""
    fused = getattr(np, fusion)(weights, axis=2)
    mixed = fused + np.eye(weights.shape[-1])
    return mixed / mixed.sum(-1, keepdims=True)


def rollout(weights, fusion):
    layers = torch.from_numpy(residual(weights, fusion))
    answer = layers[0]
    for layer in layers[1:]:
        answer = layer @ answer
    return answer.numpy()


def flow(weights, fusion):
    """Capacities as exact integers, so that the maximum flow is exact."""
    layers = residual(weights, fusion)
    count, N, L, _ = layers.shape
    answer = np.zeros((N, L, L))
    for n in range(N):
        graph = networkx.DiGraph()
        for layer in range(count):
            for i in range(L):
                for j in range(L):
                    graph.add_edge((layer + 1, i), (layer, j), capacity=round(float(layers[layer, n, i, j]) * 2**60))
        for i in range(L):
            for j in range(L):
                answer[n, i, j] = networkx.maximum_flow_value(graph, (count, i), (0, j)) / 2**60
    return answer / answer.sum(-1, keepdims=True)
