"""Writes data/*.safetensors: run `python make_golden.py` with what requirements.txt names. README.md has the format."""

import importlib.metadata
import warnings

from golden import group_edges, group_given, group_masks, group_params, group_shapes, group_weights

GROUPS = (group_shapes, group_masks, group_weights, group_edges, group_params, group_given)
PACKAGES = ("torch", "onnx", "onnxruntime", "scipy", "scikit-learn", "networkx", "numpy", "safetensors")


def main():
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    total = 0
    for module in GROUPS:
        group = module.make()
        group.write(versions)
        checked = sum(bool(case["checked"]) for case in group.cases)
        print(f"{group.name}: {len(group.cases)} cases, {checked} held against another engine")
        total += len(group.cases)
    print(f"{total} cases")


if __name__ == "__main__":
    main()
