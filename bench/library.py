#!/usr/bin/env python3
"""The library against PyTorch and ONNX Runtime: one thread each, alternating in one process, outputs checked first."""
import argparse
import ctypes
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, os.path.dirname(__file__))
from common import Report, median, timed  # noqa: E402

try:
    import numpy as np
    import torch
except ImportError as missing:
    print(f"library: skipped, {missing.name} is not installed (pip install torch numpy)")
    sys.exit(0)
try:
    import onnxruntime
    from onnx import TensorProto, helper
except ImportError:
    onnxruntime = None
    print("library: ONNX Runtime is skipped, it is not installed (pip install onnx onnxruntime)")

GROUP_OUTPUT, GROUP_WEIGHTS = 0, 1


class Case(ctypes.Structure):
    _fields_ = [("tokens", ctypes.c_size_t), ("width", ctypes.c_size_t), ("heads", ctypes.c_size_t),
                ("is_causal", ctypes.c_int), ("per_head", ctypes.c_int), ("average", ctypes.c_int),
                ("output", ctypes.c_int), ("input", ctypes.c_void_p), ("in_proj_weight", ctypes.c_void_p),
                ("in_proj_bias", ctypes.c_void_p), ("out_proj_weight", ctypes.c_void_p),
                ("out_proj_bias", ctypes.c_void_p)]


class Attn:
    """Our side: a plan that is run and timed in C."""

    def __init__(self, shim, x, heads, causal, weights, module=None):
        self.shim, self.x = shim, x
        tokens, width = x.shape
        self.kept = [x] if module is None else [x] + [p.detach().numpy() for p in (
            module.in_proj_weight, module.in_proj_bias, module.out_proj.weight, module.out_proj.bias)]
        pointers = [a.ctypes.data for a in self.kept] + [None] * (5 - len(self.kept))
        case = Case(tokens, width, heads, causal, weights == "per_head", weights == "average", 1, *pointers)
        self.handle = ctypes.c_void_p(shim.bench_create(ctypes.byref(case)))
        assert self.handle, "bench_create failed"
        self.shape = {"per_head": (heads, tokens, tokens), "average": (tokens, tokens)}.get(weights)
        self.weights = weights

    def fetch(self, group, name, shape):
        out = np.empty(shape, dtype=np.float32)
        assert self.shim.bench_fetch(self.handle, group, name.encode(), out.ctypes.data_as(ctypes.c_void_p)) == 0
        return out

    def time(self, count):
        seconds = (ctypes.c_double * count)()
        assert self.shim.bench_run(self.handle, count, seconds) == 0
        return list(seconds)

    def close(self):
        self.shim.bench_destroy(self.handle)


def alternate(ours, peers, budget=2.0, rounds=7):
    """Medians of `rounds` alternating blocks: {name: seconds a call}."""
    ours.time(1)
    once = max(median(ours.time(2)), 1e-7)
    for function in peers.values():
        timed(function, 1 if once > 1 else 3)
    rounds = 3 if once > 1 else rounds
    count = max(1, min(400, int(budget / rounds / once / (1 + len(peers)))))
    seconds = {"attnd": [], **{name: [] for name in peers}}
    for _ in range(rounds):
        seconds["attnd"] += ours.time(count)
        for name, function in peers.items():
            seconds[name] += timed(function, count)
    return {name: median(values) for name, values in seconds.items()}


def onnx_attention(heads, causal):
    """ONNX's Attention with its weights (qk_matmul_output_mode 3), opset 24, rank 3."""
    node = helper.make_node("Attention", ["q", "k", "v"], ["y", "", "", "w"], q_num_heads=heads, kv_num_heads=heads,
                            is_causal=int(causal), qk_matmul_output_mode=3)
    value = lambda n: helper.make_tensor_value_info(n, TensorProto.FLOAT, None)  # noqa: E731
    graph = helper.make_graph([node], "g", [value(n) for n in "qkv"], [value("y"), value("w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def close_to(name, a, b):
    difference = float(np.abs(a - b).max())
    assert difference < 1e-4, f"{name}: outputs differ by {difference}"


def bench_mha(report, shim, tokens, width, heads, weights, causal, goal):
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(width, heads, batch_first=True).eval()
    x = np.random.default_rng(0).standard_normal((tokens, width), dtype=np.float32)
    tx = torch.from_numpy(x)[None]
    mask = torch.nn.Transformer.generate_square_subsequent_mask(tokens) if causal else None

    def peer():
        with torch.inference_mode():
            return module(tx, tx, tx, need_weights=True, average_attn_weights=weights == "average", attn_mask=mask,
                          is_causal=False)

    ours = Attn(shim, x, heads, causal, weights, module)
    output, w = peer()
    close_to("output", ours.fetch(GROUP_OUTPUT, "output", (tokens, width)), output[0].numpy())
    close_to("weights", ours.fetch(GROUP_WEIGHTS, weights, ours.shape), w[0].numpy())
    seconds = alternate(ours, {"torch": peer})
    ours.close()
    report.add(f"MHA {tokens} x {width}, {heads} heads, {weights}{', causal' if causal else ''}",
               seconds["attnd"] * 1e3, seconds["torch"] * 1e3, "torch MHA", "ms", goal)


def bench_sdpa(report, shim, tokens, width, heads, weights, causal, goal):
    x = np.random.default_rng(0).standard_normal((tokens, width), dtype=np.float32)
    q = torch.from_numpy(x).view(1, tokens, heads, width // heads).transpose(1, 2)
    scale = (width // heads) ** -0.5
    mask = torch.full((tokens, tokens), float("-inf")).triu(1) if causal else None

    def sdpa():
        with torch.inference_mode():
            return torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=causal)

    def eager():
        with torch.inference_mode():
            s = (q * scale) @ q.transpose(-1, -2)
            w = torch.softmax(s if mask is None else s + mask, -1)
            return w @ q, w

    peers = {}
    if weights == "none":
        peers["torch SDPA"] = sdpa
    elif tokens <= 4096:
        peers["torch softmax(QK)V"] = eager
    if onnxruntime and weights != "none" and tokens <= 4096:
        session = onnx_attention(heads, causal)
        feed = {n: x[None] for n in "qkv"}
        peers["ONNX Runtime"] = lambda: session.run(None, feed)
    ours = Attn(shim, x, heads, causal, weights)
    close_to("output", ours.fetch(GROUP_OUTPUT, "output", (tokens, width)),
             sdpa()[0].transpose(0, 1).reshape(tokens, width).numpy())
    seconds = alternate(ours, peers)
    ours.close()
    best = min(peers, key=lambda name: seconds[name])
    report.add(f"SDPA {tokens} x {width}, {heads} heads, {weights}{', causal' if causal else ''}",
               seconds["attnd"] * 1e3, seconds[best] * 1e3, best, "ms", goal)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--shim", default="build/bench/attn_shim.so")
    parser.add_argument("--out", default="build/bench/library.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    shim = ctypes.CDLL(os.path.abspath(args.shim))
    shim.bench_create.restype = ctypes.c_void_p
    shim.bench_run.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    shim.bench_fetch.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]
    shim.bench_destroy.argtypes = [ctypes.c_void_p]
    report = Report("library")
    print(f"torch {torch.__version__}" + (f", ONNX Runtime {onnxruntime.__version__}" if onnxruntime else ""))
    bench_mha(report, shim, 8, 64, 8, "per_head", False, "<= 0.2")
    large = [] if args.quick else [(2048, "<= 0.667", "<= 0.4")]
    for tokens, goal, causal_goal in [(128, "<= 0.909", None), (512, "<= 0.909", None)] + large:
        bench_mha(report, shim, tokens, 768, 12, "per_head", False, goal)
        bench_mha(report, shim, tokens, 768, 12, "average", False, goal)
        if causal_goal:
            bench_mha(report, shim, tokens, 768, 12, "per_head", True, causal_goal)
    sizes = [1, 8, 32, 128, 512] if args.quick else [1, 8, 32, 128, 512, 2048, 8192]
    for tokens in sizes:
        for causal in (False, True):
            bench_sdpa(report, shim, tokens, 768, 12, "none", causal, "<= 1")
            if tokens <= 2048:
                bench_sdpa(report, shim, tokens, 768, 12, "per_head", causal, "<= 1")
                bench_sdpa(report, shim, tokens, 768, 12, "average", causal, "<= 1")
    bench_sdpa(report, shim, 8, 64, 8, "per_head", False, "<= 1")
    report.write(args.out)


if __name__ == "__main__":
    main()
