"""Whole models over HTTP: the tiny ones of tests/golden against what transformers makes of them, and everything around
the numbers: tokens, lengths, stacks, predictions, both forms of bodies, and each way to get it wrong."""

import json
import pathlib
import shutil

import numpy
import pytest
import yaml

import ask
import safetensors_file
from conftest import Server

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parent / "golden" / "data" / "models"
# tests/unit runs every family through the library; here is one of each kind that a request can look like
NAMES = ["bert", "bert_mlm", "gpt2", "bart", "t5", "vit", "clip", "whisper"]
# what the first of the tiny models' 67 ids read, for a tokenizer of BERT's kind
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", ".", "\U0001f431"]
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": i, "content": WORDS[i], "single_word": False, "lstrip": False, "rstrip": False,
                      "normalized": False, "special": True} for i in range(5)],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                   "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(WORDS)}},
}


def golden(name):
    return safetensors_file.read((MODELS / name / "expected.safetensors").read_bytes())


CASES = [(name, case) for name in NAMES for case in json.loads(golden(name)[1]["cases"])]


def part(tensors, case, kind):
    start = f"{case['name']}/{kind}/"
    return {name.removeprefix(start): values for name, values in tensors.items() if name.startswith(start)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A server with the tiny models, and some of them again with a tokenizer of few words."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("bert", "bart"):
        shutil.copytree(MODELS / name, folder / f"{name}-words")
        (folder / f"{name}-words" / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    beyond = TOKENIZER | {"model": TOKENIZER["model"] | {"vocab": TOKENIZER["model"]["vocab"] | {"zebra": 67}}}
    shutil.copytree(MODELS / "bert", folder / "bert-beyond")
    (folder / "bert-beyond" / "tokenizer.json").write_text(json.dumps(beyond))
    shutil.copytree(MODELS / "bert", folder / "bert-broken")
    (folder / "bert-broken" / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Telepathy"}}')
    shutil.copy(HERE.parent / "golden" / "data" / "minilm-layer0.safetensors", folder / "layer.safetensors")
    named = [argument for name in NAMES for argument in ("--model", f"{name}={MODELS / name}")]
    server = Server(["--models", str(folder), *named])
    assert server.get("/readyz").status in (200, 503)
    yield server
    server.finish()


def close(found, expected, where, tolerance=1e-5):
    found = numpy.asarray(found, numpy.float64)
    assert found.shape == expected.shape, where
    numpy.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=where)


def stack_of(entry):
    return entry.get("stack", "self")


def check_predictions(answer, expect, mask):
    ids, values = expect["predictions.indices"], expect["predictions.values"]
    assert len(answer) == len(ids)
    for item, positions in enumerate(answer):
        taken = numpy.flatnonzero(mask[item]) if mask is not None else range(ids.shape[1])
        assert len(positions) == max(taken) + 1
        for i in taken:
            assert [entry["id"] for entry in positions[i]] == ids[item, i].tolist()
            close([entry["probability"] for entry in positions[i]], values[item, i], f"predictions {item} {i}")


@pytest.mark.parametrize("name, case", CASES, ids=lambda part: part if isinstance(part, str) else part["name"])
def test_every_layer_and_head_is_transformers(models, name, case):
    tensors, _ = golden(name)
    inputs, expect = part(tensors, case, "inputs"), part(tensors, case, "expect")
    fields = {"model": name, "weights": "per_head"} | {key: values.tolist() for key, values in inputs.items()}
    if case["predictions"]:
        fields["predictions"] = case["predictions"]
    response = ask.attention(models, fields)
    assert response.status == 200, response.body
    answer = response.json()
    close(answer["output"], expect["output"], "output")
    if "encoder_output" in expect:
        close(answer["encoder_output"], expect["encoder_output"], "encoder_output")
    found = {f"{stack_of(entry)}.{entry['layer']}": entry["weights"]["per_head"] for entry in answer["layers"]}
    assert sorted(found) == sorted(key for key in expect if key.split(".")[0] in ("self", "encoder", "decoder", "cross"))
    for key, weights in found.items():
        close(weights, expect[key], key)
    if case["predictions"]:
        mask = inputs.get("decoder_attention_mask", None if "decoder_input_ids" in inputs else inputs.get("attention_mask"))
        check_predictions(answer["predictions"], expect, mask)


def test_the_whole_vocabulary_in_order(models):
    answer = ask_ok(models, model="gpt2", input_ids=[5, 6, 7], predictions=67, return_output=False)
    few = ask_ok(models, model="gpt2", input_ids=[5, 6, 7], predictions=5, return_output=False)
    for whole, first in zip(answer["predictions"], few["predictions"], strict=True):
        keys = [(-entry["probability"], entry["id"]) for entry in whole]
        assert keys == sorted(keys) and sorted(entry["id"] for entry in whole) == list(range(67))
        assert abs(sum(entry["probability"] for entry in whole) - 1) < 1e-5
        assert first == whole[:5]


def test_a_deadline_in_the_midst_of_the_texts(models):
    fields = {"model": "bert-words", "text": ["a"] * 200000, "weights": "none", "return_output": False}
    response = ask.attention(models, fields, **{"Request-Timeout-Ms": "1"})
    assert response.status == 504 and response.json()["detail"].startswith("the deadline passed before"), response.body


def test_binary_both_ways(models):
    tensors, metadata = golden("bart")
    case = next(case for case in json.loads(metadata["cases"]) if case["name"] == "uneven")
    inputs, expect = part(tensors, case, "inputs"), part(tensors, case, "expect")
    fields = {"model": "bart", "weights": ["per_head", "average"], "predictions": 3, "stacks": ["cross", "decoder"]}
    body = safetensors_file.write(inputs, {"request": json.dumps(fields)})
    kind = "application/vnd.safetensors"
    response = ask.request(models, "POST", "/attention", body, {"Content-Type": kind, "Accept": kind})
    assert response.status == 200, response.body
    found, rest = safetensors_file.read(response.body)
    names = {f"{stack}.layers.{layer}.weights.{form}" for stack in ("decoder", "cross") for layer in (0, 1)
             for form in ("per_head", "average")}
    assert set(found) == names | {"output", "encoder_output", "predictions.indices", "predictions.values"}
    for stack in ("decoder", "cross"):
        close(found[f"{stack}.layers.1.weights.per_head"], expect[f"{stack}.1"], stack)
    mask = inputs["decoder_attention_mask"].astype(bool)
    assert (found["predictions.indices"][mask] == expect["predictions.indices"][mask]).all()
    rest = json.loads(rest["response"])
    assert rest["decoder_lengths"] == mask.sum(1).tolist()
    assert [len(tokens) for tokens in rest["tokens"]] == rest["lengths"] == inputs["attention_mask"].sum(1).tolist()


def test_one_tensor_by_itself(models):
    fields = {"model": "bert", "input_ids": [5, 6, 7], "layers": [-1], "return_output": False}
    response = ask.attention(models, fields, Accept="text/csv")
    assert response.status == 200, response.body
    rows = [[float(cell) for cell in line.split(",")] for line in response.body.decode().split()]
    dense = ask.attention(models, fields).json()["layers"][0]["weights"]["average"]
    assert rows == dense
    for two in ({"layers": [0, 1]}, {"top_k": 1}, {"return_output": True}, {"analyses": ["sink"]}):
        assert ask.attention(models, fields | two, Accept="text/csv").status == 406


IDS = [2, 5, 6, 7, 8, 9, 3]  # [CLS] the cat ##s sat . [SEP]


def ask_ok(models, **fields):
    response = ask.attention(models, fields)
    assert response.status == 200, response.body
    return response.json()


def test_a_text_is_its_ids(models):
    by_text = ask_ok(models, model="bert-words", text="The cats sat.", weights="per_head", internals=["context"])
    by_ids = ask_ok(models, model="bert-words", input_ids=IDS, weights="per_head", internals=["context"])
    assert [token["id"] for token in by_text["tokens"]] == IDS
    assert by_text["lengths"] == by_ids["lengths"] == 7
    for name in ("output", "layers", "dims"):
        assert by_text[name] == by_ids[name]
    assert numpy.shape(by_text["output"]) == (7, 24)
    assert numpy.shape(by_text["layers"][1]["weights"]["per_head"]) == (4, 7, 7)
    assert numpy.shape(by_text["layers"][1]["internals"]["context"]) == (4, 7, 6)


def test_tokens_say_where_they_are_from(models):
    tokens = ask_ok(models, model="bert-words", text="The cats sat.")["tokens"]
    assert tokens[0] == {"id": 2, "text": "[CLS]", "start": None, "end": None, "special": True, "sequence": None}
    assert tokens[3] == {"id": 7, "text": "##s", "start": 7, "end": 8, "special": False, "sequence": 0}
    tokens = ask_ok(models, model="bert-words", input_ids=IDS)["tokens"]
    assert tokens[0] == {"id": 2, "text": "[CLS]", "start": None, "end": None, "special": True, "sequence": None}
    assert tokens[3] == {"id": 7, "text": "##s", "start": None, "end": None, "special": False, "sequence": None}
    tokens = ask_ok(models, model="bert", input_ids=IDS)["tokens"]
    assert tokens[0] == {"id": 2, "text": None, "start": None, "end": None, "special": None, "sequence": None}


def test_uneven_texts_are_padded_at_the_right(models):
    texts = ["The cats sat.", "cat", ""]
    answer = ask_ok(models, model="bert-words", text=texts, pooling="mean", analyses=["entropy"])
    assert answer["lengths"] == [7, 3, 2]
    assert [[token["id"] for token in item] for item in answer["tokens"]] == [IDS, [2, 6, 3], [2, 3]]
    output, weights = numpy.array(answer["output"]), numpy.array(answer["layers"][0]["weights"]["average"])
    for item, length in enumerate(answer["lengths"]):
        assert not output[item, length:].any() and output[item, :length].any(1).all()
        assert not weights[item, length:].any() and not weights[item, :, length:].any()
        alone = ask_ok(models, model="bert-words", text=texts[item], pooling="mean", analyses=["entropy"])
        close(output[item, :length], numpy.array(alone["output"]), "output")
        close(answer["embedding"][item], numpy.array(alone["embedding"]), "embedding")
        close(weights[item, :length, :length], numpy.array(alone["layers"][0]["weights"]["average"]), "weights")
    normal = ask_ok(models, model="bert-words", text=texts, pooling="mean", normalize=True)["embedding"]
    close(numpy.linalg.norm(normal, axis=1), numpy.ones(3), "length of an embedding")


def test_pairs_of_texts(models):
    answer = ask_ok(models, model="bert-words", text=["the cat", "cat"], text_pair=["sat", "the cats"])
    assert [[token["sequence"] for token in item] for item in answer["tokens"]] == [
        [None, 0, 0, None, 1, None], [None, 0, None, 1, 1, 1, None]]
    types = [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]]
    by_ids = ask_ok(models, model="bert-words", input_ids=[[2, 5, 6, 3, 8, 3, 0], [2, 6, 3, 5, 6, 7, 3]],
                    attention_mask=[[1] * 6 + [0], [1] * 7], token_type_ids=types)
    assert answer["layers"] == by_ids["layers"] and answer["output"] == by_ids["output"]


def test_offsets_in_code_points_or_utf16(models):
    ask_for = {"model": "bert-words", "text": "\U0001f431 cat"}
    places = [[(token["start"], token["end"]) for token in ask_ok(models, offset_unit=unit, **ask_for)["tokens"][1:3]]
              for unit in ("code_points", "utf16")]
    assert places == [[(0, 1), (2, 5)], [(0, 2), (3, 6)]]


def test_without_special_tokens(models):
    answer = ask_ok(models, model="bert-words", text="the cat", add_special_tokens=False)
    assert [token["id"] for token in answer["tokens"]] == [5, 6]


def test_truncation_cuts_at_the_models_longest(models):
    long = "cat " * 60  # of 40 positions
    answer = ask_ok(models, model="bert-words", text=[long, "cat"], truncation=True)
    assert answer["lengths"] == [40, 3]
    assert [token["special"] for token in answer["tokens"][0]] == [True] + [False] * 38 + [True]
    problem = ask.attention(models, {"model": "bert-words", "text": ["cat", long]}).json()
    assert problem["pointer"] == "/text/1" and "40" in problem["detail"] and "62" in problem["detail"]


def test_what_a_decoder_reads(models):
    """BertTokenizer puts [CLS] and [SEP] around the text; bart's start token is 2, which is [CLS] here."""
    answer = ask_ok(models, model="bart-words", text="the cat", decoder_text="cats")
    assert [token["id"] for token in answer["decoder_tokens"]] == [2, 6, 7]
    assert answer["decoder_lengths"] == 3 and numpy.shape(answer["output"]) == (3, 24)
    assert numpy.shape(answer["encoder_output"]) == (4, 24)
    by_ids = ask_ok(models, model="bart-words", input_ids=[2, 5, 6, 3], decoder_input_ids=[2, 6, 7])
    assert answer["layers"] == by_ids["layers"]
    assert [entry["stack"] for entry in answer["layers"]] == ["encoder"] * 2 + ["decoder"] * 2 + ["cross"] * 2
    bare = ask_ok(models, model="bart-words", text="the cat", decoder_text="cats", add_special_tokens=False)
    assert [token["id"] for token in bare["decoder_tokens"]] == [2, 6, 7]
    several = ask_ok(models, model="bart-words", text=["the", "cat"], decoder_text=["cats sat.", "cat"])
    assert several["decoder_lengths"] == [5, 2]
    start = ask_ok(models, model="bart-words", text=["the", "cat"], stacks=["encoder"])
    assert [[token["id"] for token in item] for item in start["decoder_tokens"]] == [[2], [2]]
    assert {entry["stack"] for entry in start["layers"]} == {"encoder"}


def test_an_answer_without_a_batch_axis_has_none_anywhere(models):
    fields = {"weights": "per_head", "analyses": ["entropy", "duplicate"], "predictions": 2, "pooling": "last"}
    one = ask_ok(models, model="gpt2", input_ids=[5, 6, 5], **fields)
    many = ask_ok(models, model="gpt2", input_ids=[[5, 6, 5]], **fields)
    for name in ("tokens", "lengths", "output", "embedding", "predictions"):
        assert many[name] == [one[name]], name
    for a, b in zip(one["layers"], many["layers"]):
        assert b["weights"]["per_head"] == [a["weights"]["per_head"]]
        assert b["analyses"] == {name: [values] for name, values in a["analyses"].items()}


def test_selections(models):
    whole = ask_ok(models, model="gpt2", input_ids=IDS, weights="per_head")["layers"]
    heads = ask_ok(models, model="gpt2", input_ids=IDS, weights="per_head", layers=[-1, 0], heads=[2, 0])["layers"]
    assert [entry["layer"] for entry in heads] == [1, 0]
    for entry in heads:
        all_heads = whole[entry["layer"]]["weights"]["per_head"]
        assert entry["weights"]["per_head"] == [all_heads[2], all_heads[0]]
    pairs = ask_ok(models, model="gpt2", input_ids=IDS, pairs=[[1, 2], [0, -3]])["pairs"]
    assert [(entry["layer"], entry["head"]) for entry in pairs] == [(1, 2), (0, 0)]
    for entry in pairs:
        close(entry["weights"]["average"], numpy.array(whole[entry["layer"]]["weights"]["per_head"][entry["head"]]), "pair")


def test_rollout_and_flow_stand_above_the_layers(models):
    answer = ask_ok(models, model="bert", input_ids=IDS, weights=["rollout", "flow", "average"])
    product = numpy.eye(7)
    for entry in answer["layers"]:
        step = numpy.array(entry["weights"]["average"]) + numpy.eye(7)
        product = step / step.sum(1, keepdims=True) @ product
    close(answer["weights"]["rollout"], product, "rollout")
    assert numpy.shape(answer["weights"]["flow"]) == (7, 7)


def test_double(models):
    single = ask_ok(models, model="bert", input_ids=IDS)
    double = ask_ok(models, model="bert", input_ids=IDS, dtype="float64")
    close(double["output"], numpy.array(single["output"]), "output")
    assert double["output"] != single["output"]


def test_the_list_of_models_knows_transformers(models):
    entry = ask.request(models, "GET", "/models/bert").json()
    described = {name: entry[name] for name in ("kind", "architecture", "layers", "heads", "kv_heads", "hidden_size",
                                                "max_positions", "dtype", "status")}
    assert described == {"kind": "transformer", "architecture": "BertModel", "layers": 2, "heads": 4, "kv_heads": 4,
                         "hidden_size": 24, "max_positions": 40, "dtype": "float32", "status": "ready"}
    shards = {name: values.shape for path in MODELS.glob("bert/model-*.safetensors")
              for name, values in safetensors_file.read(path.read_bytes())[0].items()}
    assert {tensor["name"]: tuple(tensor["shape"]) for tensor in entry["tensors"]} == shards
    assert entry["parameters"] == sum(numpy.prod(shape) for shape in shards.values())


@pytest.mark.parametrize("case", yaml.safe_load((HERE / "transformer_errors.yaml").read_text()),
                         ids=lambda case: case["name"].replace(" ", "_"))
def test_error(models, case):
    response = ask.attention(models, case["body"])
    problem = response.json()
    assert response.status == problem["status"] == 422, problem
    assert problem["type"] == "urn:attnd:problem:" + case.get("type", "invalid-request"), problem
    assert problem.get("pointer", "") == case["pointer"], problem
    assert case.get("detail", "") in problem["detail"], problem
