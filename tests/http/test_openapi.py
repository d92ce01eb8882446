"""openapi.yaml: valid, complete, its examples run, its lists are the server's, and the server keeps to it."""

import copy
import json
import pathlib
import re

import hypothesis
import pytest
import schemathesis
import yaml
from openapi_spec_validator import validate
from schemathesis.specs.openapi import checks

import ask

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = yaml.safe_load((ROOT / "openapi.yaml").read_text())
REQUEST = DOCUMENT["components"]["schemas"]["AttentionRequest"]
EXAMPLES = DOCUMENT["paths"]["/attention"]["post"]["requestBody"]["content"]["application/json"]["examples"]


def resolve(schema):
    while "$ref" in schema:
        node = DOCUMENT
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        schema = node
    return schema


def test_it_is_valid():
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_no_sentence_became_a_key():
    """As `{description: one, two}` does in YAML, and no validator minds."""

    def keys(node):
        for key, value in node.items() if isinstance(node, dict) else []:
            yield key
            yield from keys(value)

    assert [key for key in keys(DOCUMENT["components"]) if " " in key] == []


def test_every_error_of_the_server_is_listed():
    rows = (ROOT / "server" / "base" / "problem.h").read_text()
    listed = {status for path in DOCUMENT["paths"].values() for verb in path.values() if "responses" in verb
              for status in verb["responses"]}
    found = set(re.findall(r"X\(PROBLEM_\w+, (\d+)", rows))
    assert found - listed == {"405", "499", "500"}  # not of a method that is listed; never sent; never meant


def test_the_server_serves_it(server):
    answer = ask.request(server, "GET", "/openapi.yaml")
    assert answer.status == 200
    assert yaml.safe_load(answer.body) == DOCUMENT
    answer = ask.request(server, "GET", "/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(DOCUMENT))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_work(request, name):
    example = EXAMPLES[name]["value"]
    answer = ask.attention(request.getfixturevalue("real_models" if "model" in example else "server"), example)
    assert answer.status == 200, answer.body


def test_every_field_is_known_to_the_server(server):
    for name in REQUEST["properties"]:
        problem = ask.attention(server, {"query": [[1]], name: {"?": "?"}}).json()
        assert "no field of this name" not in problem["detail"], problem


def test_every_field_of_the_server_is_listed():
    text = (ROOT / "server" / "routes" / "attention_fields.c").read_text()
    assert set(re.findall(r'X\("(\w+)", FIELD_\w+, [A-Z_ |]+\)', text)) == set(REQUEST["properties"])


def enum_of(name):
    schema = resolve(REQUEST["properties"][name])
    if "anyOf" in schema:
        schema = resolve(schema["anyOf"][0])
    if "items" in schema:
        schema = resolve(schema["items"])
    return schema["enum"]


NAMED = {
    "weights": {"query": [[1]], "weights": "?"},
    "weights_stage": {"query": [[1]], "weights_stage": "?"},
    "analyses": {"query": [[1]], "analyses": ["?"]},
    "internals": {"query": [[1]], "internals": ["?"]},
    "mask_convention": {"query": [[1]], "mask_convention": "?"},
    "causal_alignment": {"query": [[1]], "causal_alignment": "?"},
    "encoding": {"query": [[1]], "encoding": "?"},
    "layout": {"attention_weights": [[[[1]]]], "layout": "?"},
}


@pytest.mark.parametrize("name", NAMED)
def test_lists_of_names_are_the_servers(server, name):
    detail = ask.attention(server, NAMED[name]).json()["detail"]
    listed = re.findall(r'"(\w+)"', detail.split(", found")[0])
    assert listed and set(listed) == set(enum_of(name))


def test_problem_types_are_the_servers():
    text = (ROOT / "server" / "base" / "problem.h").read_text()
    rows = re.findall(r'X\(PROBLEM_\w+, (\d+), "([\w-]+)"', text)
    types = {"urn:attnd:problem:" + name for status, name in rows if status not in ("200", "499")}
    assert types == set(DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]["enum"])


def test_routes_are_the_servers():
    text = (ROOT / "server" / "routes" / "table.c").read_text()
    rows = set(re.findall(r'"(GET|POST|PUT|DELETE)",\s*"(/[^"]*)"', text))
    listed = {
        (method.upper(), path)
        for path, item in DOCUMENT["paths"].items()
        for method in item
        if method in ("get", "post", "put", "delete")
    }
    assert rows == listed


# --- schemathesis: whatever fits the schema, and much that does not, gets an answer that fits it


@schemathesis.serializer("application/vnd.safetensors", "application/x-tar")
def as_bytes(_context, value):
    return value if isinstance(value, bytes) else bytes(getattr(value, "data", None) or str(value).encode())


def with_tensors_that_work():
    """The document with a handful of tensors in place of all: most requests then reach the computation."""
    document = copy.deepcopy(DOCUMENT)
    schemas = document["components"]["schemas"]
    schemas["Tensor"] = {"enum": [[[1, 2], [3, -4]], {"shape": [1, 2], "data": [1, 2]}, [[[0.5, 1], [1, 0]]], [1, 2]]}
    schemas["IntegerTensor"] = {"enum": [[1], [2], [[0, 1]]]}
    schemas["Mask"] = {"enum": [[[True, False], [True, True]], [[0, -1.5], [0, "-Infinity"]], [1, 0]]}
    document["paths"] = {"/attention": document["paths"]["/attention"]}
    return document


def no_server_error(_context, response, case):
    """No 5xx at all, but that a request which set itself a deadline may pass it."""
    own_deadline = any(name.lower() == "request-timeout-ms" for name in case.headers or {})
    assert response.status_code < 500 or (response.status_code == 504 and own_deadline), response.content


CHECKS = [
    no_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
SETTINGS = hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
wide = schemathesis.openapi.from_dict(DOCUMENT)
deep = schemathesis.openapi.from_dict(with_tensors_that_work())


def call_and_check(case, server):
    response = case.call(base_url=f"http://127.0.0.1:{server.port}")
    case.validate_response(response, checks=CHECKS)
    return response


@wide.parametrize()
@SETTINGS
def test_server_keeps_to_the_document(case, server):
    call_and_check(case, server)


@deep.parametrize()
@hypothesis.settings(SETTINGS, max_examples=400)
def test_answers_of_computations_keep_to_the_document(case, server):
    call_and_check(case, server)
