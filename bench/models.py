#!/usr/bin/env python3
"""Whole models against transformers' eager attention with output_attentions=True: every layer's weights of every head,
the same threads, alternating in one process, outputs checked first."""
import argparse
import ctypes
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from common import Report, median, timed  # noqa: E402

try:
    import numpy as np
    import torch
    import transformers
except ImportError as missing:
    print(f"models: skipped, {missing.name} is not installed (pip install torch transformers)")
    sys.exit(0)

TOLERANCE = 1e-4

# Random weights of real shapes: name, configuration, {tokens: goal}.
MODELS = [
    ("MiniLM, 6 x 384", lambda: transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
     {8: "<= 0.5", 128: "<= 0.5", 512: None}),
    ("BERT, 12 x 768", lambda: transformers.BertConfig(), {8: None, 128: "<= 1", 512: None}),
    ("SmolLM2, 30 x 576", lambda: transformers.LlamaConfig(
        hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536,
        vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=8192), {8: None, 128: None, 512: None}),
]


class Attn:
    """Our side: a plan that is run and timed in C."""

    def __init__(self, shim, directory, threads):
        self.shim = shim
        self.handle = ctypes.c_void_p(shim.bench_model_open(directory.encode(), threads))
        assert self.handle, f"{directory} cannot be opened"

    def plan(self, ids):
        self.ids = np.ascontiguousarray(ids, dtype=np.int64)
        status = self.shim.bench_model_plan(self.handle, self.ids.ctypes.data, self.ids.size)
        assert status == 0, f"plan: status {status}"

    def fetch(self, layer, shape):
        out = np.empty(shape, dtype=np.float32)
        assert self.shim.bench_model_fetch(self.handle, layer, out.ctypes.data) == 0
        return out

    def time(self, count):
        seconds = (ctypes.c_double * count)()
        assert self.shim.bench_model_run(self.handle, count, ctypes.addressof(seconds)) == 0
        return list(seconds)

    def close(self):
        self.shim.bench_model_close(self.handle)


def peer_of(model, ids):
    ids = torch.from_numpy(ids)[None]

    def run():
        with torch.inference_mode():
            return model(input_ids=ids, output_attentions=True, use_cache=False)

    return run


def check(ours, peer):
    theirs = peer()
    pairs = [(-1, theirs.last_hidden_state)] + list(enumerate(theirs.attentions))
    for layer, tensor in pairs:
        wanted = tensor.numpy()
        difference = float(np.abs(ours.fetch(layer, wanted.shape) - wanted).max())
        assert difference < TOLERANCE, f"layer {layer}: differs by {difference}"


def compare(ours, peer, rounds, budget):
    """Medians of alternating blocks."""
    ours.time(2)
    once = median(timed(peer, 3))
    count = max(1, min(200, int(budget / rounds / once / 2)))
    mine, theirs = [], []
    for _ in range(rounds):
        mine += ours.time(count)
        theirs += timed(peer, count)
    return median(mine), median(theirs)


def bench(report, shim, name, config, goals, threads, args):
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config(), attn_implementation="eager").eval()
    directory = tempfile.mkdtemp(prefix="attnd-bench-")
    try:
        model.save_pretrained(directory)
        ours = Attn(shim, directory, threads)
        for tokens, goal in goals.items():
            ids = np.random.default_rng(tokens).integers(1000, 20000, tokens)
            ours.plan(ids)
            peer = peer_of(model, ids)
            check(ours, peer)
            mine, theirs = compare(ours, peer, args.rounds, args.seconds)
            report.add(f"{name}, {tokens} tokens, {threads} thread{'s' if threads > 1 else ''}", mine * 1e3,
                       theirs * 1e3, "transformers eager", "ms", goal)
        ours.close()
    finally:
        shutil.rmtree(directory)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shim", default="build/bench/models_shim.so")
    parser.add_argument("--out", default="build/bench/models.json")
    parser.add_argument("--only", default="", help="models whose name has this in it")
    parser.add_argument("--tokens", type=int, help="one length alone")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="for one figure")
    args = parser.parse_args()
    shim = ctypes.CDLL(os.path.abspath(args.shim))
    shim.bench_model_open.restype = ctypes.c_void_p
    shim.bench_model_open.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    shim.bench_model_plan.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    shim.bench_model_run.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    shim.bench_model_fetch.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    shim.bench_model_close.argtypes = [ctypes.c_void_p]
    transformers.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    report = Report("models")
    for threads in args.threads:
        torch.set_num_threads(threads)
        for name, config, goals in MODELS:
            if args.only in name:
                chosen = {t: g for t, g in goals.items() if args.tokens in (None, t)}
                bench(report, shim, name, config, chosen, threads, args)
    report.write(args.out)


if __name__ == "__main__":
    main()
