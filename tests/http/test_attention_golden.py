"""The golden cases of tests/golden over HTTP, as JSON and as safetensors bodies."""

import json
import pathlib

import numpy
import pytest

import ask
import safetensors_file

DATA = pathlib.Path(__file__).resolve().parents[1] / "golden" / "data"
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def load_cases():
    cases = []
    for path in sorted(DATA.glob("*.safetensors")):
        tensors, metadata = safetensors_file.read(path.read_bytes())
        cases += [(case, tensors) for case in json.loads(metadata.get("cases", "[]"))]
    return cases


CASES = load_cases()
# every sixth is enough here: tests/unit runs each through the library
SAMPLE = CASES[::6]


def splitmix(seed, shape, dtype):
    """The inputs that are not stored: tests/golden/README.md."""
    with numpy.errstate(over="ignore"):
        count = numpy.arange(1, numpy.prod(shape) + 1, dtype=numpy.uint64)
        z = numpy.uint64(seed) * numpy.uint64(0xD1342543DE82EF95) + count * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    if dtype == "float32":
        values = ((z >> numpy.uint64(40)).astype(numpy.int64) - 2**23) / numpy.float64(2**22)
    else:
        values = ((z >> numpy.uint64(11)).astype(numpy.int64) - 2**52) / numpy.float64(2**51)
    return values.astype(dtype).reshape(shape)


def inputs_of(case, tensors):
    inputs = {}
    for name, source in case["inputs"].items():
        if "tensor" in source:
            inputs[name] = tensors[source["tensor"]]
        else:
            inputs[name] = splitmix(source["seed"], source["shape"], case["dtype"])
    if "params" in case:
        params, _ = safetensors_file.read((DATA / case["params"]).read_bytes())
        inputs |= {"params." + name: values for name, values in params.items()}
    return inputs


def fields_of(case):
    fields = dict(case["request"])
    if case["dtype"] == "float64":
        fields["dtype"] = "float64"
    return fields


def plain(values):
    """An array as JSON has it: not-finite numbers as strings."""
    if values.dtype.kind != "f":
        return values.tolist()
    flat = [float(v) if numpy.isfinite(v) else str(v).replace("inf", "Infinity").replace("nan", "NaN") for v in values.ravel()]
    return {"shape": list(values.shape), "data": flat} if values.ndim else flat[0]


def mask_as_json(values):
    """A float mask needs its dtype said, or padding masks of 0 and 1 would count as booleans."""
    tensor = plain(values)
    return tensor | {"dtype": values.dtype.name} if isinstance(tensor, dict) else tensor


def json_request(case, tensors):
    request = fields_of(case)
    for name, values in inputs_of(case, tensors).items():
        if name.startswith("params."):
            request.setdefault("params", {})[name.removeprefix("params.")] = plain(values)
        else:
            request[name] = mask_as_json(values) if name.endswith("mask") else plain(values)
    return request


def flatten(answer, prefix=""):
    """The tensors of a JSON answer by their paths: layers.3.weights.average, pairs.0.1.weights.per_head."""
    found = {}
    for key, value in answer.items():
        if key in ("dims", "warnings", "timings_ms", "layer", "head"):
            continue
        if key in ("layers", "pairs"):
            for entry in value:
                place = f"{key}.{entry['layer']}." + (f"{entry['head']}." if key == "pairs" else "")
                found |= flatten(entry, place)
        elif isinstance(value, dict):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def as_array(value, dtype):
    return numpy.array(value, dtype=object).astype(dtype) if isinstance(value, list) else value


def check(case, tensors, answer):
    tolerance = TOLERANCE[case["dtype"]]
    for path in case["expect"]:
        expected = tensors[f"{case['name']}/expect/{path}"]
        assert path in answer, sorted(answer)
        found = as_array(answer[path], expected.dtype)
        assert found.shape == expected.shape, path
        numpy.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True, err_msg=path)


@pytest.mark.parametrize("case, tensors", SAMPLE, ids=[case["name"] for case, _ in SAMPLE])
def test_as_json(server, case, tensors):
    answer = ask.attention(server, json_request(case, tensors))
    assert answer.status == 200, answer.body
    check(case, tensors, flatten(answer.json()))


@pytest.mark.parametrize("case, tensors", SAMPLE, ids=[case["name"] for case, _ in SAMPLE])
def test_as_safetensors(server, case, tensors):
    body = safetensors_file.write(inputs_of(case, tensors), {"request": json.dumps(fields_of(case))})
    media = {"Content-Type": "application/vnd.safetensors", "Accept": "application/vnd.safetensors"}
    answer = ask.request(server, "POST", "/attention", body, media)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/vnd.safetensors"
    found, metadata = safetensors_file.read(answer.body)
    check(case, tensors, found)
    assert json.loads(metadata["response"])["dims"]["query_length"] >= 1


def test_there_are_enough_cases():
    assert len(CASES) >= 300 and len(SAMPLE) >= 60
