"""Inputs, cases and the files that they are kept in (see README.md for the format)."""

import json
import pathlib
import struct

import numpy as np
from safetensors.numpy import save

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
MASK = (1 << 64) - 1


def splitmix(seed, count):
    """The numbers of the golden files' inputs: splitmix64 of seed * 0xD1342543DE82EF95 + (i + 1) * golden ratio."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = np.uint64((seed * 0xD1342543DE82EF95) & MASK) + steps
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Random:
    """A tensor that a file names by seed and shape only; uniform in [-2, 2) with all bits of its dtype used."""

    def __init__(self, seed, *shape):
        self.seed, self.shape = seed, tuple(shape)

    def array(self, dtype):
        z = splitmix(self.seed, int(np.prod(self.shape)))
        if dtype == "float32":
            numbers = ((z >> np.uint64(40)).astype(np.int64) - (1 << 23)).astype(np.float32) / np.float32(1 << 22)
        else:
            numbers = ((z >> np.uint64(11)).astype(np.int64) - (1 << 52)).astype(np.float64) / float(1 << 51)
        return numbers.reshape(self.shape)

    def describe(self):
        return {"seed": self.seed, "shape": list(self.shape)}


def array_of(given, dtype):
    """The values of an input, Random or array; floating arrays in the case's dtype."""
    if isinstance(given, Random):
        return given.array(dtype)
    return given.astype(dtype) if given.dtype.kind == "f" else given


class Group:
    """Cases on one subject, written to one safetensors file."""

    def __init__(self, name):
        self.name, self.cases, self.tensors = name, [], {}

    def add(self, name, dtype, request, inputs, params, answers, checked):
        """`inputs` and `answers` by field name and path; an answer is (source, array)."""
        if any(case["name"] == name for case in self.cases):
            raise ValueError(f"two cases are called {name}")
        described = {field: self._input(name, field, given, dtype) for field, given in inputs.items()}
        for path, (_, values) in answers.items():
            self._store(f"{name}/expect/{path}", values, dtype)
        case = {"name": name, "dtype": dtype, "request": request, "inputs": described,
                "expect": {path: source for path, (source, _) in answers.items()}, "checked": checked}
        if params:
            case["params"] = params
        self.cases.append(case)

    def _input(self, name, field, given, dtype):
        if isinstance(given, Random):
            return given.describe()
        self._store(f"{name}/{field}", given, dtype)
        return {"tensor": f"{name}/{field}"}

    def _store(self, name, values, dtype):
        values = np.asarray(values)
        self.tensors[name] = np.ascontiguousarray(values.astype(dtype) if values.dtype.kind == "f" else values)

    def write(self, versions):
        DATA.mkdir(exist_ok=True)
        metadata = {"format": "attnd golden 1", "versions": json.dumps(versions, sort_keys=True),
                    "cases": json.dumps(self.cases)}
        path = DATA / f"{self.name}.safetensors"
        path.write_bytes(in_order(save(self.tensors, metadata)))


def in_order(content):
    """The same file with the keys of __metadata__ in order; the package writes them in another each time."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]
