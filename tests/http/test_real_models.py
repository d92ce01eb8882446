"""Real weights over HTTP, text in: all-MiniLM-L6-v2 and SmolLM2-135M against what transformers, tokenizers and
sentence-transformers make of them (tests/golden/make_real_golden.py)."""

import base64
import json
import pathlib

import numpy
import pytest

import ask
import safetensors_file

DATA = pathlib.Path(__file__).resolve().parents[1] / "golden" / "data"
MINILM, SMOLLM2 = "all-MiniLM-L6-v2", "SmolLM2-135M"
FILES = {MINILM: "real_minilm.safetensors", SMOLLM2: "real_smollm2.safetensors"}


def golden(name):
    tensors, metadata = safetensors_file.read((DATA / FILES[name]).read_bytes())
    return tensors, json.loads(metadata["about"])


def attention(server, **fields):
    response = ask.attention(server, {"encoding": "base64"} | fields)
    assert response.status == 200, response.body
    return response.json()


def array(tensor):
    flat = numpy.frombuffer(base64.b64decode(tensor["base64"]), tensor.get("dtype", "float32"))
    return flat.reshape(tensor["shape"])


def check_tokens(found, expected):
    """Ids, and places in code points; special tokens have none."""
    assert [token["id"] for token in found] == expected["ids"], expected["text"]
    places = [None if token["special"] else [token["start"], token["end"]] for token in found]
    assert places == expected["offsets"], expected["text"]


def check_batch(answer, expected, layers, attention_bar, output_bar):
    for entry in answer["layers"]:
        weights = array(entry["weights"]["per_head"])
        numpy.testing.assert_allclose(weights, expected[f"layers.{entry['layer']}"], rtol=0, atol=attention_bar)
    assert [entry["layer"] for entry in answer["layers"]] == layers
    numpy.testing.assert_allclose(array(answer["output"]), expected["output"], rtol=0, atol=output_bar)


@pytest.mark.parametrize("name", [MINILM, SMOLLM2])
def test_ids_and_places_are_the_tokenizers_packages(real_models, name):
    _, about = golden(name)
    entries = [entry for entry in about["batch"] + about["spelled"] if entry["ids"]]
    assert len(entries) >= 8
    for entry in entries:
        answer = attention(real_models, model=name, text=entry["text"], weights="none", return_output=False, layers=[0])
        check_tokens(answer["tokens"], entry)


def test_minilm_is_transformers_and_sentence_transformers(real_models):
    expected, about = golden(MINILM)
    texts = [entry["text"] for entry in about["batch"]]
    answer = attention(real_models, model=MINILM, text=texts, weights="per_head", pooling="mean", normalize=True)
    for found, entry in zip(answer["tokens"], about["batch"], strict=True):
        check_tokens(found, entry)
    check_batch(answer, expected, list(range(6)), 1e-5, 1e-5)
    numpy.testing.assert_allclose(array(answer["embedding"]), expected["embedding"], rtol=0, atol=1e-5)


def test_smollm2_is_transformers(real_models):
    expected, about = golden(SMOLLM2)
    texts, layers = [entry["text"] for entry in about["batch"]], [0, 14, 29]
    answer = attention(real_models, model=SMOLLM2, text=texts, weights="per_head", layers=layers, predictions=5)
    for found, entry in zip(answer["tokens"], about["batch"], strict=True):
        check_tokens(found, entry)
    check_batch(answer, expected, layers, 1e-4, 2e-3)
    for n, entry in enumerate(about["batch"]):
        for place in range(len(entry["ids"])):
            found = answer["predictions"][n][place]
            values = [one["probability"] for one in found]
            numpy.testing.assert_allclose(values, expected["predictions.probabilities"][n, place], rtol=0, atol=1e-4)
            assert found[0]["id"] == expected["predictions.ids"][n, place, 0]
    assert answer["predictions"][0][len(about["batch"][0]["ids"]) - 1][0]["text"] == " Paris"


def test_listing_says_what_they_are(real_models):
    found = {model["id"]: model for model in real_models.get("/models").json["models"]}
    members = ("kind", "architecture", "layers", "heads", "kv_heads", "hidden_size", "parameters", "status")
    assert [found[MINILM][key] for key in members] == ["transformer", "BertModel", 6, 12, 12, 384, 22713728, "ready"]
    assert [found[SMOLLM2][key] for key in members] == [
        "transformer", "LlamaForCausalLM", 30, 9, 3, 576, 134515008, "ready"]  # fmt: skip
