"""JSONTestSuite (Seriot) over HTTP: what is no JSON is a 400 with an offset, what is JSON is never a 400."""

import pathlib

import pytest

import ask

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data" / "JSONTestSuite" / "test_parsing"
FILES = [file for file in sorted(FOLDER.glob("*.json")) if file.name[0] in "ny"]


def test_the_suite_is_there():
    assert len(FILES) == 283


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file(server, file):
    text = file.read_bytes()
    answer = ask.request(server, "POST", "/attention", text, {"Content-Type": "application/json"})
    problem = answer.json()
    if file.name.startswith("n_"):
        assert answer.status == 400, problem
        assert problem["type"] == "urn:attnd:problem:malformed-body"
        assert 0 <= problem["offset"] <= len(text)
        assert str(problem["offset"]) in problem["detail"]
    else:
        # JSON, and no request: `query` is missing, a field is unknown, or it is no object
        assert answer.status == 422, problem
