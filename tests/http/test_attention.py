"""POST /attention: forms of tensors, modes, media types, and the shape of the answer."""

import base64
import concurrent.futures
import gzip
import io
import json
import math
import zlib

import numpy
import pytest

import ask
import safetensors_file

IDENTITY = [[1, 0], [0, 1]]
LARGE = math.e ** math.sqrt(0.5) / (math.e ** math.sqrt(0.5) + 1)  # softmax of 1/sqrt(2) against 0
STATE = {"in_proj_weight": IDENTITY * 3, "out_proj.weight": IDENTITY, "out_proj.bias": [0.5, -0.5]}


def answer_of(server, request, **headers):
    answer = ask.attention(server, request, **headers)
    assert answer.status == 200, answer.body
    return answer.json()


def close(found, expected, tolerance=1e-6):
    numpy.testing.assert_allclose(numpy.array(found), numpy.array(expected), rtol=tolerance, atol=tolerance)


def test_the_answer_has_output_weights_dims_and_timings_and_nothing_else(server):
    answer = answer_of(server, {"query": IDENTITY})
    assert list(answer) == ["output", "weights", "dims", "timings_ms"]
    close(answer["output"], [[LARGE, 1 - LARGE], [1 - LARGE, LARGE]])
    close(answer["weights"]["average"], [[LARGE, 1 - LARGE], [1 - LARGE, LARGE]])
    assert answer["dims"] == {
        "batch": 1, "heads": 1, "kv_heads": 1, "query_length": 2, "key_length": 2, "head_dim": 2,
    }  # fmt: skip
    assert set(answer["timings_ms"]) == {"queue", "decode", "compute"}
    assert all(value >= 0 for value in answer["timings_ms"].values())


FORMS = {
    "nested": IDENTITY,
    "flat": {"shape": [2, 2], "data": [1, 0, 0, 1]},
    "float32": {"shape": [2, 2], "dtype": "float32", "base64": base64.b64encode(numpy.eye(2, dtype="<f4")).decode()},
    "float64": {"shape": [2, 2], "dtype": "float64", "base64": base64.b64encode(numpy.eye(2, dtype="<f8")).decode()},
    "float16": {"shape": [2, 2], "dtype": "float16", "base64": base64.b64encode(numpy.eye(2, dtype="<f2")).decode()},
    "bfloat16": {"shape": [2, 2], "dtype": "bfloat16", "base64": "gD8AAAAAgD8="},
}


@pytest.mark.parametrize("form", FORMS)
def test_tensors_come_in_every_form(server, form):
    answer = answer_of(server, {"query": FORMS[form]})
    close(answer["output"], [[LARGE, 1 - LARGE], [1 - LARGE, LARGE]])


def test_tensors_go_out_flat(server):
    output = answer_of(server, {"query": IDENTITY, "encoding": "flat"})["output"]
    assert output["shape"] == [2, 2]
    close(output["data"], [LARGE, 1 - LARGE, 1 - LARGE, LARGE])


def test_tensors_go_out_as_base64(server):
    output = answer_of(server, {"query": IDENTITY, "encoding": "base64", "dtype": "float64"})["output"]
    assert (output["shape"], output["dtype"]) == ([2, 2], "float64")
    close(numpy.frombuffer(base64.b64decode(output["base64"]), "<f8"), [LARGE, 1 - LARGE, 1 - LARGE, LARGE], 1e-12)


def test_digits_are_significant_ones(server):
    answer = answer_of(server, {"query": IDENTITY, "digits": 3})
    assert answer["weights"]["average"][0] == [0.67, 0.33]


def test_double_is_computed_in_double(server):
    answer = answer_of(server, {"query": IDENTITY, "dtype": "float64"})
    close(answer["weights"]["average"][0], [LARGE, 1 - LARGE], 1e-15)


def test_null_is_as_if_the_field_were_absent(server):
    request = {"query": IDENTITY, "key": None, "attn_mask": None, "num_heads": None, "weights": None, "model": None}
    assert answer_of(server, request)["weights"].keys() == {"average"}


def test_whole_numbers_are_integers(server):
    answer = answer_of(server, {"query": IDENTITY, "num_heads": 2.0, "key_lengths": [1.0], "top_k": 1.0})
    assert answer["dims"]["heads"] == 2
    assert answer["weights"]["average"]["indices"] == [[0], [0]]


def test_weights_none_leaves_them_out(server):
    assert "weights" not in answer_of(server, {"query": IDENTITY, "weights": "none"})


def test_batch_axis_stays_where_it_was_given(server):
    answer = answer_of(server, {"query": [IDENTITY], "weights": ["per_head"], "analyses": ["entropy"]})
    assert numpy.array(answer["output"]).shape == (1, 2, 2)
    assert numpy.array(answer["weights"]["per_head"]).shape == (1, 1, 2, 2)
    assert numpy.array(answer["analyses"]["entropy"]).shape == (1, 1, 2)


def test_internals_and_present_are_answered_when_asked_for(server):
    request = {"query": IDENTITY, "past_key": [[[[5, 6]]]], "past_value": [[[[7, 8]]]],
               "return_present": True, "internals": ["key", "logsumexp"]}  # fmt: skip
    answer = answer_of(server, request)
    close(answer["present_value"], [[[7, 8], [1, 0], [0, 1]]])
    close(answer["internals"]["key"], [[[5, 6], [1, 0], [0, 1]]])
    assert answer["dims"]["key_length"] == 3


def test_boolean_masks_say_what_takes_part(server):
    request = {"query": IDENTITY, "attn_mask": [[True, False], [False, True]]}
    assert answer_of(server, request)["weights"]["average"] == [[1, 0], [0, 1]]
    request["mask_convention"] = "ignore"
    assert answer_of(server, request)["weights"]["average"] == [[0, 1], [1, 0]]


def test_float_masks_are_added_whatever_the_convention(server):
    request = {"query": IDENTITY, "attn_mask": [[0, "-Infinity"], ["-Infinity", 0]], "mask_convention": "ignore"}
    assert answer_of(server, request)["weights"]["average"] == [[1, 0], [0, 1]]


def test_padding_of_zeros_and_ones_counts_as_booleans(server):
    assert answer_of(server, {"query": IDENTITY, "key_padding_mask": [1, 0]})["weights"]["average"] == [[1, 0], [1, 0]]
    added = {"query": IDENTITY, "key_padding_mask": {"shape": [2], "dtype": "float32", "data": [0, "-Infinity"]}}
    assert answer_of(server, added)["weights"]["average"] == [[1, 0], [1, 0]]


def test_rows_without_keys_are_warned_about(server):
    answer = answer_of(server, {"query": IDENTITY, "attn_mask": [[False, False], [True, True]]})
    assert answer["weights"]["average"][0] == [0, 0]
    assert answer["output"][0] == [0, 0]
    assert answer["warnings"][0]["pointer"] == "/attn_mask"
    assert "1 query row" in answer["warnings"][0]["detail"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("keys", [2, 300])
def test_a_sink_that_takes_all_is_no_row_without_keys(server, dtype, keys):
    answer = answer_of(
        server,
        {
            "query": IDENTITY,
            "key": [[1, 0]] * keys,
            "sinks": [2000],
            "attn_mask": [[False] * keys, [True] * keys],
            "analyses": ["sink_mass", "entropy", "head_confidence"],
            "dtype": dtype,
        },
    )
    assert answer["analyses"] == {"sink_mass": [[0, 1]], "entropy": [[0, 0]], "head_confidence": [0]}
    assert [warning["detail"] for warning in answer["warnings"]] == ["1 query row attends to nothing"]


@pytest.mark.parametrize("scale", [1e39, 1e300, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scale_may_be_any_finite_number(server, scale, dtype):
    request = {"query": IDENTITY, "weights": "per_head", "dtype": dtype}
    assert answer_of(server, {**request, "scale": scale})["weights"]["per_head"] == [IDENTITY]
    assert answer_of(server, {**request, "scale": -scale})["weights"]["per_head"] == [[[0, 1], [1, 0]]]


def test_window_sides_may_be_null_or_minus_one(server):
    request = {"query": IDENTITY, "window": {"left": None, "right": 0}}
    close(answer_of(server, request)["weights"]["average"][0], [1, 0])
    request["window"] = {"left": 0, "right": -1}
    close(answer_of(server, request)["weights"]["average"][1], [0, 1])


def test_segments_without_batch_axis(server):
    for ids in ([3, 4], [[3, 4]]):
        assert answer_of(server, {"query": IDENTITY, "segment_ids": ids})["weights"]["average"] == [[1, 0], [0, 1]]


def test_params_project(server):
    answer = answer_of(server, {"query": IDENTITY, "num_heads": 1, "params": STATE})
    close(answer["output"], [[LARGE + 0.5, 0.5 - LARGE], [1.5 - LARGE, LARGE - 0.5]])


def test_params_with_masks_of_both_conventions(server):
    request = {"query": IDENTITY, "num_heads": 1, "params": STATE, "key_padding_mask": [False, True]}
    assert answer_of(server, request | {"mask_convention": "ignore"})["weights"]["average"] == [[1, 0], [1, 0]]
    assert answer_of(server, request | {"mask_convention": "attend"})["weights"]["average"] == [[0, 1], [0, 1]]


def test_add_zero_attn_adds_a_column(server):
    answer = answer_of(server, {"query": IDENTITY, "num_heads": 1, "params": STATE, "add_zero_attn": True})
    assert numpy.array(answer["weights"]["average"]).shape == (2, 3)


def test_layers_are_answered_in_the_order_asked_for(server):
    given = numpy.arange(1, 13, dtype=float).reshape(3, 1, 1, 2, 2) / 100
    answer = answer_of(server, {"attention_weights": given.tolist(), "layers": [-1, 0], "analyses": ["received"]})
    assert [entry["layer"] for entry in answer["layers"]] == [2, 0]
    assert list(answer["layers"][0]) == ["layer", "weights", "analyses"]
    close(answer["layers"][0]["weights"]["average"], given[2, :, 0])
    close(answer["layers"][1]["weights"]["average"], given[0, :, 0])
    assert "output" not in answer and "weights" not in answer


def test_pairs_are_answered_with_layer_and_head(server):
    given = numpy.arange(1, 17, dtype=float).reshape(2, 1, 2, 2, 2) / 100
    answer = answer_of(server, {"attention_weights": given.tolist(), "pairs": [[1, 0], [0, -1]], "weights": "average"})
    assert [(entry["layer"], entry["head"]) for entry in answer["pairs"]] == [(1, 0), (0, 1)]
    close(answer["pairs"][0]["weights"]["average"], given[1, :, 0])
    close(answer["pairs"][1]["weights"]["average"], given[0, :, 1])


def test_rollout_stands_at_the_top(server):
    given = [[[[[1, 0], [0.5, 0.5]]]], [[[[0.75, 0.25], [0.25, 0.75]]]]]
    answer = answer_of(server, {"attention_weights": given, "weights": ["average", "rollout"]})
    first, second = (numpy.array(layer)[0, 0] + numpy.eye(2) for layer in given)
    close(answer["weights"]["rollout"], [(second / 2) @ (first / 2)])
    assert len(answer["layers"]) == 2


def test_heads_before_batch(server):
    given = numpy.arange(1, 13, dtype=float).reshape(3, 2, 1, 2)  # H, N, L, T
    answer = answer_of(server, {"attention_weights": given.tolist(), "layout": "HNLS", "weights": "per_head"})
    assert (answer["dims"]["batch"], answer["dims"]["heads"]) == (2, 3)
    close(answer["weights"]["per_head"], given.transpose(1, 0, 2, 3))


def test_duplicate_looks_at_tokens(server):
    given = [[[1, 0, 0], [0, 1, 0], [0.25, 0.5, 0.25]]]
    request = {"attention_weights": given, "tokens": ["a", "b", "a"], "analyses": ["duplicate", "induction"]}
    answer = answer_of(server, request)
    close(answer["analyses"]["duplicate"], [0.25])
    close(answer["analyses"]["induction"], [0.5])
    assert answer_of(server, request | {"tokens": [["a", "b", "a"]]})["analyses"] == answer["analyses"]


def test_pca_brings_its_loadings_along(server):
    answer = answer_of(server, {"query": [[1, 2, 3, 4], [4, 1, 2, 3]], "num_heads": 2, "weights": "pca", "components": 2})
    assert numpy.array(answer["weights"]["pca"]).shape == (2, 2, 2)
    assert numpy.array(answer["pca_loadings"]).shape == (2, 2)
    close(numpy.sum(answer["explained_variance_ratio"]), 1)


# --- media types

ONE = {"query": IDENTITY, "weights": "per_head", "return_output": False}


def test_one_tensor_as_npy(server):
    answer = ask.attention(server, ONE, Accept="application/x-npy")
    assert answer.status == 200, answer.body
    values = numpy.load(io.BytesIO(answer.body))
    assert values.dtype == numpy.float32 and values.shape == (1, 2, 2)
    close(values[0], [[LARGE, 1 - LARGE], [1 - LARGE, LARGE]])


def test_one_tensor_as_octets(server):
    answer = ask.attention(server, ONE, Accept="application/octet-stream")
    assert answer.status == 200, answer.body
    assert answer.headers["X-Tensor-Shape"].replace(" ", "") in ("1,2,2", "[1,2,2]")
    assert answer.headers["X-Tensor-Dtype"] == "float32"
    close(numpy.frombuffer(answer.body, "<f4")[:2], [LARGE, 1 - LARGE])


def test_one_tensor_as_csv(server):
    answer = ask.attention(server, ONE | {"digits": 3}, Accept="text/csv")
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.body.split() == [b"0.67,0.33", b"0.33,0.67"]


def test_a_type_for_one_tensor_gives_way_to_json_where_that_is_taken_too(server):
    answer = ask.attention(server, {"query": IDENTITY}, Accept="text/csv, application/json;q=0.1")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"


def test_json_may_have_a_charset(server):
    answer = ask.attention(server, ONE, Content_Type="application/json; charset=utf-8")
    assert answer.status == 200


def test_safetensors_names_say_where_a_tensor_stands(server):
    request = {"query": IDENTITY, "top_k": 1, "analyses": ["sink"], "internals": ["context"]}
    answer = ask.attention(server, request, Accept="application/vnd.safetensors")
    tensors, metadata = safetensors_file.read(answer.body)
    assert set(tensors) == {"output", "weights.average.indices", "weights.average.values", "analyses.sink",
                            "internals.context"}  # fmt: skip
    assert tensors["weights.average.indices"].dtype == numpy.int64
    assert json.loads(metadata["response"])["dims"]["heads"] == 1


def test_safetensors_names_of_pairs(server):
    request = {"attention_weights": [[[[[1]]]]], "pairs": [[0, 0]]}
    answer = ask.attention(server, request, Accept="application/vnd.safetensors")
    assert set(safetensors_file.read(answer.body)[0]) == {"pairs.0.0.weights.average"}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip"])
def test_bodies_may_be_compressed(server, coding):
    text = json.dumps(ONE).encode()
    body = zlib.compress(text) if coding == "deflate" else gzip.compress(text)
    answer = ask.request(server, "POST", "/attention", body, {"Content-Type": "application/json", "Content-Encoding": coding})
    assert answer.status == 200, answer.body


def test_answers_are_compressed_where_that_is_taken(server):
    request = {"query": numpy.ones((64, 8)).tolist(), "weights": "per_head"}
    answer = ask.attention(server, request, Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.body))["output"]) == 64
    answer = ask.attention(server, request, Accept_Encoding="deflate, gzip;q=0.5")
    assert answer.headers["Content-Encoding"] == "deflate"
    assert len(json.loads(zlib.decompress(answer.body))["output"]) == 64
    answer = ask.attention(server, request, Accept_Encoding="gzip;q=0.5, identity")
    assert "Content-Encoding" not in answer.headers and len(json.loads(answer.body)["output"]) == 64


# --- sizes: on the event thread, on a worker, and too large for one buffer

@pytest.mark.parametrize("tokens", [1, 8, 100, 1500])
def test_small_and_large_requests_give_the_same(server, tokens):
    rows = numpy.random.default_rng(tokens).standard_normal((tokens, 4)).astype(numpy.float32)
    request = {"query": {"shape": [tokens, 4], "dtype": "float32", "base64": base64.b64encode(rows).decode()}}
    answer = answer_of(server, request | {"weights": ["average", "per_head"]})
    scores = rows.astype(float) @ rows.T.astype(float) / 2
    weights = numpy.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    close(answer["weights"]["average"], weights, 1e-5)
    close(answer["weights"]["per_head"], [weights], 1e-5)
    close(answer["output"], weights @ rows, 1e-5)


def test_many_clients_at_once_get_their_own_answers(server):
    def ask(seed):
        rows = numpy.random.default_rng(seed).standard_normal((20 + seed, 4)).round(3)
        answer = answer_of(server, {"query": rows.tolist(), "return_output": False})
        return numpy.array(answer["weights"]["average"]).shape, seed

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for shape, seed in threads.map(ask, range(64)):
            assert shape == (20 + seed, 20 + seed)


def test_more_elements_than_allowed_are_refused_before_they_are_made(start_server):
    small = start_server("--max-elements", "1000")
    answer = ask.attention(small, {"query": [[1]] * 40, "weights": "per_head"})
    assert (answer.status, answer.json()["type"]) == (422, "urn:attnd:problem:too-many-elements")
    assert ask.attention(small, {"query": [[1]] * 40, "weights": "none"}).status == 200
    too_long = ask.attention(small, {"query": [[1]] * 1001})
    assert (too_long.status, too_long.json()["pointer"]) == (422, "/query")


def test_a_deadline_stops_the_work(server):
    request = {"query": {"shape": [8000, 64], "dtype": "float16", "base64": base64.b64encode(bytes(8000 * 128)).decode()}}
    answer = ask.attention(server, request | {"weights": "none", "num_heads": 8}, Request_Timeout_Ms="1")
    assert answer.status == 504
    assert answer.json()["type"] == "urn:attnd:problem:deadline-passed"


def test_bodies_beyond_max_body_are_refused(start_server):
    small = start_server("--max-body", "1K")
    answer = ask.attention(small, {"query": [[1]] * 1000})
    assert (answer.status, answer.json()["type"]) == (413, "urn:attnd:problem:body-too-large")
