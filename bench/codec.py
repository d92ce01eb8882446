#!/usr/bin/env python3
"""Runs the codec benchmark and keeps its figures for docs/benchmarks.md: codec.py PROGRAM."""
import os
import subprocess
import sys
import tempfile

from common import Report


def main():
    report = Report("Codec: numbers to and from JSON, one core")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "figures")
        subprocess.run([sys.argv[1], path], check=True, stdout=subprocess.DEVNULL)
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                what, ours, peer, peer_name, unit, goal = line.rstrip("\n").split("\t")
                report.add(what, float(ours), float(peer), peer_name, unit, goal or None)
    report.write("build/bench/codec.json")


if __name__ == "__main__":
    main()
