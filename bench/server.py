#!/usr/bin/env python3
"""The server against the FastAPI peer and bare libmicrohttpd: wrk drives each in turn, alternating, in one run."""
import argparse
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from common import Report, median  # noqa: E402

WRK_SCRIPT = """
local f = io.open("{path}", "rb"); local body = f:read("*a"); f:close()
wrk.method = "POST"; wrk.body = body
wrk.headers["Content-Type"] = "application/json"
"""


def request_body(tokens, width, heads, weights, names):
    rng = random.Random(0)
    tensor = lambda: [[round(rng.gauss(0, 1), 7) for _ in range(width)] for _ in range(tokens)]  # noqa: E731
    return json.dumps({**{name: tensor() for name in names}, "num_heads": heads, "weights": weights},
                      separators=(",", ":")).encode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


def post(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/attention", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    assert response.status == 200, data[:300]
    return data


def numbers(value):
    if isinstance(value, list):
        for v in value:
            yield from numbers(v)
    elif isinstance(value, (int, float)):
        yield value


def check_same(ours, theirs, weights):
    a, b = json.loads(ours), json.loads(theirs)
    for x, y in ((a["output"], b["output"]), (a["weights"][weights], b["weights"][weights])):
        xs, ys = list(numbers(x)), list(numbers(y))
        assert len(xs) == len(ys) and max(abs(p - q) for p, q in zip(xs, ys)) < 1e-4, "answers differ"


def wrk(port, connections, seconds, script):
    text = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script,
                           f"http://127.0.0.1:{port}/attention"], capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", text)
    assert "Non-2xx" not in text, text
    return rate, float(p99.group(1)) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[p99.group(2)]


def uvicorn_with_peer():
    for candidate in ([os.path.join(os.path.dirname(sys.executable), "uvicorn")], [shutil.which("uvicorn") or ""]):
        if os.access(candidate[0], os.X_OK):
            probe = subprocess.run([sys.executable, "-c", "import fastapi, orjson, torch, uvloop, httptools"],
                                   capture_output=True, check=False)
            return candidate if probe.returncode == 0 else None
    return None


class Servers:
    def __init__(self, args):
        self.processes = []
        self.ports = {}
        port = free_port()
        self.start("attnd", port, [args.attnd, "--listen", f"127.0.0.1:{port}", "--log-level", "error"])
        uvicorn = uvicorn_with_peer()
        if uvicorn:
            port = free_port()
            self.start("FastAPI", port, uvicorn + [
                "--app-dir", "bench/peers", "fastapi_peer:app", "--port", str(port), "--workers",
                str(os.cpu_count() or 1), "--loop", "uvloop", "--http", "httptools", "--log-level", "error",
                "--no-access-log"])
        else:
            print("server: the FastAPI peer is skipped (pip install fastapi uvicorn uvloop httptools orjson torch)")

    def start(self, name, port, command):
        self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                               stderr=subprocess.DEVNULL))
        wait_for(port)
        self.ports[name] = port

    def start_bare(self, program, answer_bytes):
        process = subprocess.Popen([program, str(answer_bytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True)
        self.processes.append(process)
        self.ports["bare libmicrohttpd"] = int(process.stdout.readline())
        return process

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait()


def bench(report, servers, args, case, connections):
    tokens, width, heads, weights, names, goal = case
    body = request_body(tokens, width, heads, weights, names)
    script = os.path.abspath("build/bench/wrk.lua")
    with open("build/bench/body.json", "wb") as f:
        f.write(body)
    with open(script, "w", encoding="utf-8") as f:
        f.write(WRK_SCRIPT.format(path=os.path.abspath("build/bench/body.json")))
    ours = post(servers.ports["attnd"], body)
    if "FastAPI" in servers.ports:
        check_same(ours, post(servers.ports["FastAPI"], body), weights)
    bare = servers.start_bare(args.bare, len(ours)) if tokens <= 16 else None
    rates = {name: [] for name in servers.ports}
    tails = {name: [] for name in servers.ports}
    for _ in range(args.rounds):
        for name, port in servers.ports.items():
            rate, p99 = wrk(port, connections, args.seconds, script)
            rates[name].append(rate)
            tails[name].append(p99)
    what = f"{tokens} x {width}, {heads} heads, {weights}, {len(names)} tensors in, {connections} connections"
    if "FastAPI" in rates:
        report.add(what + ", requests/s", median(rates["attnd"]), median(rates["FastAPI"]), "FastAPI", "/s", goal,
                   "higher")
        report.add(what + ", p99", median(tails["attnd"]), median(tails["FastAPI"]), "FastAPI", "ms", "< 1")
    if bare:
        report.add(what + ", requests/s", median(rates["attnd"]), median(rates["bare libmicrohttpd"]),
                   "bare libmicrohttpd", "/s", ">= 0.45", "higher")
        bare.terminate()
        bare.wait()
        del servers.ports["bare libmicrohttpd"]


def resident_megabytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


def start_to_first_answer(args):
    seconds = []
    for _ in range(15):
        port = free_port()
        start = time.perf_counter()
        process = subprocess.Popen([args.attnd, "--listen", f"127.0.0.1:{port}", "--log-level", "error"])
        while True:
            try:
                post(port, b'{"query": [[1, 0], [0, 1]]}')
                break
            except ConnectionError:
                time.sleep(0.0005)
        seconds.append(time.perf_counter() - start)
        rss = resident_megabytes(process.pid)
        process.terminate()
        process.wait()
    return median(seconds) * 1e3, rss


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attnd", default="build/attnd")
    parser.add_argument("--bare", default="build/bench/bare_mhd")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", default="build/bench/server.json")
    args = parser.parse_args()
    if not shutil.which("wrk"):
        print("server: skipped, wrk is not installed (apt-get install wrk)")
        return
    report = Report("server")
    start_ms, rss = start_to_first_answer(args)
    report.add("start to first answer", start_ms, 50, "goal", "ms", "<= 1")
    report.add("resident after one small answer", rss, 16, "goal", "MB", "<= 1")
    servers = Servers(args)
    try:
        qkv = ("query", "key", "value")
        for connections in (2, 16, 64):
            bench(report, servers, args, (8, 64, 8, "per_head", ("query",), ">= 8"), connections)
        bench(report, servers, args, (128, 768, 12, "per_head", qkv, ">= 8"), 4)
        bench(report, servers, args, (256, 768, 12, "average", qkv, ">= 10"), 4)
    finally:
        servers.stop()
    report.write(args.out)


if __name__ == "__main__":
    main()
