"""Writes aggregate_expected.inc: what NumPy, SciPy, scikit-learn and networkx make of given attention weights.

    python tests/unit/aggregate_expected.py > tests/unit/aggregate_expected.inc
"""
import networkx
import numpy as np
import scipy
import sklearn
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.decomposition import PCA

LAYERS, N, H, L = 3, 2, 3, 5
random = np.random.default_rng(20)
weights = random.dirichlet(np.full(L, 0.5), size=(LAYERS, N, H, L))
weights[1, 0, 2, 3] = 0  # a row that attends to nothing
tokens = np.array([[7, 8, 7, 8, 7], [1, 2, 3, 1, 2]])

print(f"/* NumPy {np.__version__}, SciPy {scipy.__version__}, scikit-learn {sklearn.__version__}, "
      f"networkx {networkx.__version__}; by aggregate_expected.py. */")


def put(name, array):
    values = ", ".join(f"{x:.17g}" for x in np.asarray(array, dtype=np.float64).ravel())
    print(f"static const double expected_{name}[] = {{{values}}};")


adjacency = weights.mean(axis=2) + np.eye(L)
adjacency /= adjacency.sum(axis=-1, keepdims=True)


def flow(item):
    graph = networkx.DiGraph()
    for layer in range(LAYERS):
        for i in range(L):
            for j in range(L):
                graph.add_edge((layer + 1, i), (layer, j), capacity=adjacency[layer, item, i, j])
    values = np.array([[networkx.maximum_flow_value(graph, (LAYERS, i), (0, j)) for j in range(L)] for i in range(L)])
    return values / values.sum(axis=-1, keepdims=True)


def row_mean(values, layer=1):
    """Mean over the rows of (N, H, L) that attend to something."""
    live = weights[layer].sum(-1) > 0
    return (values * live).sum(-1) / live.sum(-1)


def distance(n, a, b, layer=1):
    rows = [i for i in range(L) if weights[layer, n, a, i].sum() > 0 and weights[layer, n, b, i].sum() > 0]
    return np.mean([jensenshannon(weights[layer, n, a, i], weights[layer, n, b, i]) for i in rows])


def neighbour(shift):
    result = np.zeros((N, H))
    for n in range(N):
        for h in range(H):
            rows = [i for i in range(L) if 0 <= i + shift < L and weights[1, n, h, i].sum() > 0]
            result[n, h] = np.mean([weights[1, n, h, i, i + shift] for i in rows])
    return result


def on_tokens(shift):
    result = np.zeros((N, H))
    for n in range(N):
        for h in range(H):
            rows = []
            for i in range(L):
                places = [j + shift for j in range(i) if tokens[n, j] == tokens[n, i]]
                if places and weights[1, n, h, i].sum() > 0:
                    rows.append(weights[1, n, h, i, places].sum())
            result[n, h] = np.mean(rows) if rows else 0
    return result


put("weights", weights)
put("rollout", adjacency[2] @ adjacency[1] @ adjacency[0])
put("flow", np.stack([flow(n) for n in range(N)]))
one = weights[1]
places = np.abs(np.arange(L)[:, None] - np.arange(L))
safe = np.where(one.sum(-1, keepdims=True) > 0, one, 1 / L)
put("entropy", entropy(safe, axis=-1) * (one.sum(-1) > 0))
put("mean_distance", row_mean((one * places).sum(-1)))
put("head_distance", [[[0 if a == b else distance(n, a, b) for b in range(H)] for a in range(H)] for n in range(N)])
put("head_confidence", row_mean(one.max(-1)))
put("received", one.sum(-2) / (one.sum(-1) > 0).sum(-1)[..., None])
put("sink", row_mean(one[..., 0]))
put("diagonal", neighbour(0))
put("previous", neighbour(-1))
put("next", neighbour(1))
put("duplicate", on_tokens(0))
put("induction", on_tokens(1))
pca, loadings, ratios = [], [], []
for n in range(N):
    cells = one[n].reshape(H, L * L).T
    fit = PCA(n_components=2, svd_solver="full").fit(cells)
    signs = np.sign(fit.components_[np.arange(2), np.abs(fit.components_).argmax(-1)])
    pca.append(((cells - cells.mean(0)) @ (fit.components_ * signs[:, None]).T).reshape(L, L, 2))
    loadings.append(fit.components_ * signs[:, None])
    ratios.append(fit.explained_variance_ratio_)
put("pca", pca)
put("pca_loadings", loadings)
put("explained_variance_ratio", ratios)
