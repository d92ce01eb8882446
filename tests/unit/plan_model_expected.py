"""Writes plan_model_expected.inc: what NumPy makes of the plain transformer of fake_model.h.

    python tests/unit/plan_model_expected.py > tests/unit/plan_model_expected.inc
"""
import networkx
import numpy as np
import sklearn
from sklearn.decomposition import PCA

HEADS, KV_HEADS, DIM = 4, 2, 2
WIDTH = HEADS * DIM
LAYERS = 3


def put(name, array):
    values = ", ".join(f"{x:.17g}" for x in np.asarray(array, dtype=np.float64).ravel())
    print(f"static const double expected_{name}[] = {{{values}}};")


def put_integers(name, array):
    values = ", ".join(str(int(x)) for x in np.asarray(array).ravel())
    print(f"static const int64_t {name}[] = {{{values}}};")


def embed(ids):
    l, e = np.arange(ids.shape[1])[:, None], np.arange(WIDTH)
    return ((7 * ids[:, :, None] + 3 * l + 5 * e) % 13) / 13 - 0.5


def split(x, heads, repeat):
    x = x[:, :, :heads * DIM].reshape(x.shape[0], x.shape[1], heads, DIM).transpose(0, 2, 1, 3)
    return np.repeat(x, repeat, axis=1)


def attend(x, y, layer, x_mask, y_mask, is_causal):
    """The weights (N, H, L, T), the heads' outputs (N, H, L, D), and the values (N, H, T, D)."""
    query = split(x, HEADS, 1) * (1 + layer / 4)
    key = split(y, KV_HEADS, HEADS // KV_HEADS) * (1 - layer / 8)
    value = split(y, KV_HEADS, HEADS // KV_HEADS) + layer / 10
    seen = (x_mask[:, None, :, None] & y_mask[:, None, None, :]) != 0
    if is_causal:
        seen = seen & (np.arange(y.shape[1]) <= np.arange(x.shape[1])[:, None])
    scores = np.where(seen, query @ key.transpose(0, 1, 3, 2) / np.sqrt(DIM), -np.inf)
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = weights / weights.sum(axis=-1, keepdims=True)
    weights = np.where(seen, weights, 0)
    return weights, weights @ value, value


def run(x, mask, is_causal, other=None, other_mask=None):
    """Of each layer the weights and values, of itself and of its cross attention, and the last hidden state."""
    own, cross, values = [], [], []
    for layer in range(LAYERS):
        weights, output, value = attend(x, x, layer, mask, mask, is_causal)
        x = x + output.transpose(0, 2, 1, 3).reshape(x.shape)
        own.append(weights)
        values.append(value)
        if other is not None:
            weights, output, _ = attend(x, other, layer, mask, other_mask, False)
            x = x + output.transpose(0, 2, 1, 3).reshape(x.shape)
            cross.append(weights)
    return np.array(own), np.array(cross), np.array(values), x


def adjacency(weights, mask):
    matrices = weights.mean(axis=2) + np.eye(weights.shape[-1])
    matrices /= matrices.sum(axis=-1, keepdims=True)
    return matrices * mask[None, :, :, None]


def rollout(weights, mask):
    result = np.eye(weights.shape[-1])
    for matrix in adjacency(weights, mask):
        result = matrix @ result
    return result


def flow(weights, mask):
    """Without padding, whose places take no part."""
    result = np.zeros(weights.shape[1:2] + weights.shape[-2:])
    capacities = adjacency(weights, mask)
    for item in range(mask.shape[0]):
        places = np.flatnonzero(mask[item])
        graph = networkx.DiGraph()
        for layer in range(LAYERS):
            for i in places:
                for j in places:
                    graph.add_edge((layer + 1, i), (layer, j), capacity=capacities[layer, item, i, j])
        for i in places:
            row = [networkx.maximum_flow_value(graph, (LAYERS, i), (0, j)) for j in places]
            result[item, i, places] = np.array(row) / sum(row)
    return result


def pooled(x, mask):
    """Mean, first and last of what is no padding."""
    places = [np.flatnonzero(m) for m in mask]
    return (np.array([x[n, p].mean(axis=0) for n, p in enumerate(places)]),
            np.array([x[n, p[0]] for n, p in enumerate(places)]), np.array([x[n, p[-1]] for n, p in enumerate(places)]))


def token_mass(weights, query_ids, key_ids, mask, key_mask, shift):
    """Mean over rows that have earlier places of their token of the weight `shift` behind these: (N, H)."""
    result = np.zeros(weights.shape[:2])
    for n in range(weights.shape[0]):
        rows = []
        for i in np.flatnonzero(mask[n]):
            earlier = [j for j in range(min(i, key_ids.shape[1] - shift))
                       if key_mask[n, j] and key_ids[n, j] == query_ids[n, i]]
            if earlier:
                rows.append(sum(weights[n, :, i, j + shift] for j in earlier))
        if rows:
            result[n] = np.mean(rows, axis=0)
    return result


def principal(weights, mask, key_mask, components):
    """Cells of padding are no samples, and 0."""
    result = np.zeros(weights.shape[:1] + weights.shape[2:] + (components,))
    for n in range(weights.shape[0]):
        cells = np.ix_(np.flatnonzero(mask[n]), np.flatnonzero(key_mask[n]))
        samples = np.stack([w[cells].ravel() for w in weights[n]], axis=-1)
        pca = PCA(components, svd_solver="full").fit(samples)
        signs = np.sign(pca.components_[np.arange(components), np.abs(pca.components_).argmax(axis=1)])
        result[n][cells] = (pca.transform(samples) * signs).reshape(len(cells[0]), -1, components)
    return result


ids = np.array([[3, 5, 3, 8, 5, 3], [0, 0, 7, 0, 7, 0]])  # the second padded at the left, by what is a token too
mask = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
other_ids = np.array([[9, 5, 3, 5], [0, 7, 1, 1]])
other_mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])

print(f"/* NumPy {np.__version__}, scikit-learn {sklearn.__version__}, networkx {networkx.__version__}; "
      "by plan_model_expected.py. */")
put_integers("ids", ids)
put_integers("mask", mask)
put_integers("other_ids", other_ids)
put_integers("other_mask", other_mask)

weights, _, values, hidden = run(embed(ids), mask, True)
put("causal", weights)
put("hidden", hidden * mask[:, :, None])
put("rollout", rollout(weights, mask))
put("flow", flow(weights, mask))
for name, vectors in zip(("mean", "cls", "last"), pooled(hidden, mask)):
    put(name, vectors)
    put(name + "_normalized", vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
put("duplicate", token_mass(weights[1], ids, ids, mask, mask, 0))
put("induction", token_mass(weights[1], ids, ids, mask, mask, 1))
put("value_norm", weights[1] * np.linalg.norm(values[1], axis=-1)[:, :, None, :])
out_weight = ((3 * np.arange(WIDTH)[:, None] + 5 * np.arange(WIDTH)) % 8 / 8).reshape(WIDTH, HEADS, DIM)
projected = np.einsum("nhtd,ehd->nhte", values[1], out_weight)
put("output_norm", weights[1] * np.linalg.norm(projected, axis=-1)[:, :, None, :])
put("pca", principal(weights[1], mask, mask, 2))

encoder, _, _, encoded = run(embed(ids), mask, False)
own, cross, _, decoded = run(embed(other_ids), other_mask, True, encoded, mask)
put("encoder", encoder)
put("decoder", own)
put("cross", cross)
put("encoded", encoded * mask[:, :, None])
put("decoded", decoded * other_mask[:, :, None])
put("encoder_rollout", rollout(encoder, mask))
put("decoder_rollout", rollout(own, other_mask))
put("cross_duplicate", token_mass(cross[0], other_ids, ids, other_mask, mask, 0))
