"""Every error that POST /attention can give: status, type, pointer. The cases are in error_cases.yaml."""

import json
import pathlib

import pytest
import yaml

import ask

CASES = yaml.safe_load((pathlib.Path(__file__).parent / "error_cases.yaml").read_text())


def send(server, case):
    text = case["text"] if "text" in case else json.dumps(case["body"]) if "body" in case else None
    headers = case.get("headers", {"Content-Type": "application/json"})
    return ask.request(server, case.get("method", "POST"), case.get("path", "/attention"), text, headers)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "_"))
def test_error(server, case):
    answer = send(server, case)
    status = case.get("status", 422)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] == "urn:attnd:problem:" + case.get("type", "invalid-request"), problem
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert problem["title"] and problem["detail"]
    assert problem.get("pointer", "") == case.get("pointer", ""), problem
    assert problem.get("parameter") == case.get("parameter")
    if "offset" in case:
        assert problem["offset"] == case["offset"], problem
    assert case.get("detail", "") in problem["detail"], problem
    if "allow" in case:
        assert case["allow"] in answer.headers["Allow"]


def test_names_of_cases_are_unique():
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))
