"""What all benchmarks share: medians, ratios, the machine, one line a figure."""
import json
import os
import platform
import statistics
import subprocess
import time


def median(values):
    return statistics.median(values)


def timed(function, count):
    """Seconds of each of `count` calls."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def spread(values):
    """Quartiles around the median, as text."""
    q = statistics.quantiles(values, n=4) if len(values) > 3 else [min(values), 0, max(values)]
    return f"{q[0]:.4g}..{q[2]:.4g}"


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        info = f.read()
    for line in info.splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    flags = [w for w in ("avx2", "avx512f", "avx512_vbmi", "amx_tile") if f" {w}" in info]
    gcc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=False).stdout.strip()
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "features": flags, "kernel": platform.release(),
            "gcc": gcc, "python": platform.python_version()}


class Report:
    """Rows of one benchmark, printed as they come and kept for docs/benchmarks.md."""

    def __init__(self, name):
        self.name, self.rows = name, []

    def add(self, what, ours, peer, peer_name, unit, goal=None, better="lower"):
        ratio = ours / peer if peer else float("nan")
        self.rows.append({"what": what, "ours": ours, "peer": peer, "peer_name": peer_name, "unit": unit,
                          "ratio": ratio, "goal": goal, "better": better})
        print(f"{what:58s} {ours:12.5g} {unit:5s} {peer_name}: {peer:12.5g}  ratio {ratio:7.3f}"
              + (f"  goal {goal}" if goal else ""), flush=True)

    def write(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"name": self.name, "machine": machine(), "rows": self.rows}, f, indent=1)
