#!/usr/bin/env python3
"""Writes the figures of build/bench/*.json into docs/benchmarks.md, between the two markers; losses included."""
import datetime
import json
import os
import re
import sys

MARKS = ("<!-- figures: begin -->", "<!-- figures: end -->")
SOURCES = ("library", "models", "codec", "server")


def met(row):
    if not row["goal"]:
        return ""
    sign, bound = re.match(r"([<>]=?) ([\d.]+)", row["goal"]).groups()
    ok = {"<=": row["ratio"] <= float(bound), "<": row["ratio"] < float(bound), ">=": row["ratio"] >= float(bound)}
    return "met" if ok[sign] else "**not met**"


def table(report):
    yield f"### {report['name']}\n"
    yield "| what | attnd | peer | | ratio attnd / peer | goal | |"
    yield "|---|---|---|---|---|---|---|"
    for r in report["rows"]:
        yield (f"| {r['what']} | {r['ours']:.4g} {r['unit']} | {r['peer']:.4g} {r['unit']} | {r['peer_name']} "
               f"| {r['ratio']:.3g} | {r['goal'] or ''} | {met(r)} |")
    yield ""


def main():
    page = "docs/benchmarks.md"
    reports = []
    for name in SOURCES:
        path = f"build/bench/{name}.json"
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                reports.append(json.load(f))
        else:
            print(f"render: no figures of {name} yet")
    if not reports:
        sys.exit("render: nothing to write; run make bench first")
    machine = reports[0]["machine"]
    lines = [MARKS[0], f"Measured {datetime.date.today()} on {machine['processor']}, {machine['cores']} cores "
             f"({', '.join(machine['features'])}), gcc {machine['gcc']}.\n"]
    for report in reports:
        lines += table(report)
    with open(page, encoding="utf-8") as f:
        text = f.read()
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    with open(page, "w", encoding="utf-8") as f:
        f.write(before + "\n".join(lines) + MARKS[1] + after)


if __name__ == "__main__":
    main()
