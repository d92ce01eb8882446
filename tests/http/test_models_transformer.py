"""Whole transformer models over HTTP: tar uploads, folders on disk, replacement under use, crashes, what is refused."""

import hashlib
import io
import json
import os
import pathlib
import random
import signal
import socket
import struct
import tarfile
import threading

import pytest

from conftest import wait_until
from test_models import layer, problem, put, safetensors
from uploads import kill_during_uploads

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "data" / "models"
TAR = {"Content-Type": "application/x-tar"}
BLOCK = 512


def files_of(name):
    """A golden model's files, {name: bytes}."""
    return {path.name: path.read_bytes() for path in sorted((GOLDEN / name).iterdir())
            if path.name != "expected.safetensors"}


GPT2 = files_of("gpt2")
BERT = files_of("bert")
# A tokenizer of one word a token, so small that its ids are in every golden model's vocabulary.
TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "the": 1, "cat": 2, "sat": 3}},
}  # fmt: skip


def tar(files, form=tarfile.PAX_FORMAT, prefix="", **about):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            for key, value in about.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest_of(files):
    """As openapi.yaml has it: sha256sum's lines, hashed."""
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def put_tar(server, name, body, query="", **headers):
    sent = TAR | {key.replace("_", "-"): value for key, value in headers.items()}
    return server.request("PUT", f"/models/{name}{query}", body, sent)


def on_disk(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def models_of(server):
    return server.request("GET", "/models").json()["models"]


def uploads_of(directory):
    return list((directory / ".uploads").glob("*"))


def wait_ready(server):
    wait_until(lambda: server.request("GET", "/readyz").status == 200)
    return server


@pytest.fixture
def service(start_server, tmp_path):
    models = tmp_path / "models"
    models.mkdir(exist_ok=True)
    started = start_server("--models", models)
    started.models = models
    return started


def ask(server, model, **request):
    body = {"model": model, "input_ids": [5, 6, 7, 8], "weights": "none"} | request
    return server.attention(body)


def test_an_upload_is_listed_shown_and_deleted(service):
    answer = put_tar(service, "org/first", tar(GPT2))
    assert answer.status == 201, answer.body
    digest = digest_of(GPT2)
    assert answer.headers["Location"] == "/models/org/first"
    assert answer.headers["ETag"] == f'"{digest}"'
    described = {
        "id": "org/first", "kind": "transformer", "architecture": "GPT2LMHeadModel", "layers": 2, "heads": 3,
        "kv_heads": 3, "hidden_size": 24, "max_positions": 40, "parameters": 17064, "dtype": "float32",
        "bytes": len(GPT2["model.safetensors"]), "status": "ready", "sha256": digest,
    }  # fmt: skip
    assert service.request("GET", "/models").json() == {"models": [described]}
    shown = service.request("GET", "/models/org/first")
    assert shown.headers["ETag"] == f'"{digest}"'
    assert {"name": "transformer.wte.weight", "shape": [67, 24], "dtype": "float32"} in shown.json()["tensors"]
    assert on_disk(service.models / "org" / "first") == GPT2
    wait_until(lambda: not uploads_of(service.models))

    assert service.request("DELETE", "/models/org/first").status == 204
    problem(service.request("GET", "/models/org/first"), 404, "model-not-found")
    assert models_of(service) == []
    assert not (service.models / "org").exists()
    wait_until(lambda: not uploads_of(service.models))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_form_of_tar_is_taken(service, form):
    files = BERT | {"a" * 90 + ".txt": b"x" * 1000, "empty": b""}
    assert put_tar(service, "m", tar(files, form, prefix="./", mtime=1.5, uname="someone")).status == 201
    assert on_disk(service.models / "m") == files
    shown = service.request("GET", "/models/m").json()
    assert (shown["layers"], shown["parameters"], shown["sha256"]) == (2, 11832, digest_of(files))
    assert len(shown["tensors"]) == 39  # of three shards


def test_a_compressed_archive_is_taken_as_any_body(service):
    import gzip

    assert put_tar(service, "m", gzip.compress(tar(GPT2)), Content_Encoding="gzip").status == 201
    assert on_disk(service.models / "m") == GPT2
    found = problem(put_tar(service, "m", gzip.compress(tar(GPT2))), 400, "malformed-body")
    assert "gzip" in found["detail"] and found["offset"] == 0


def test_models_are_replaced_by_their_like_and_by_the_other_kind(service, start_server):
    assert put_tar(service, "m", tar(GPT2)).status == 201
    replaced = put_tar(service, "m", tar(BERT))
    assert (replaced.status, "Location" in replaced.headers) == (200, False)
    assert on_disk(service.models / "m") == BERT
    assert service.request("GET", "/models/m").json()["architecture"] == "BertModel"

    assert put(service, "m", layer()).status == 200
    assert sorted(path.name for path in service.models.iterdir()) == [".uploads", "m.safetensors"]
    assert service.request("GET", "/models/m").json()["kind"] == "attention"

    assert put_tar(service, "m", tar(GPT2)).status == 200
    assert sorted(path.name for path in service.models.iterdir()) == [".uploads", "m"]
    wait_until(lambda: not uploads_of(service.models))
    tag = service.request("GET", "/models/m").headers["ETag"]
    service.stop()
    again = wait_ready(start_server("--models", service.models))
    assert again.request("GET", "/models/m").headers["ETag"] == tag
    assert [model["id"] for model in models_of(again)] == ["m"]


def test_texts_are_read_by_the_tokenizer_of_the_archive(service, start_server):
    files = with_tokenizer()
    assert put_tar(service, "m", tar(files)).status == 201
    for server in [service, wait_ready(start_server("--model", f"m={service.models / 'm'}"))]:
        answer = ask(server, "m", input_ids=None, text="the cat sat")
        assert answer.status == 200, answer.body
        assert [token["id"] for token in answer.json()["tokens"]] == [1, 2, 3]
    assert put_tar(service, "m", tar(GPT2)).status == 200
    assert "no tokenizer" in problem(ask(service, "m", input_ids=None, text="the"), 422, "invalid-request")["detail"]


def test_a_folder_whose_tokenizer_is_broken_still_takes_ids(start_server, tmp_path):
    write(tmp_path / "m", BROKEN_TOKENIZER)
    server = wait_ready(start_server("--models", tmp_path))
    assert ask(server, "m").status == 200
    assert "tokenizer.json" in problem(ask(server, "m", input_ids=None, text="x"), 422, "invalid-request")["detail"]


def test_requests_in_flight_finish_on_the_model_they_began_with(service):
    """Answers are of the one model or the other, never of a mixture, and there are no failures."""
    put_tar(service, "m", tar(GPT2))
    seen, stop = [], threading.Event()

    def ask_on():
        while not stop.is_set():
            answer = ask(service, "m", return_output=False, weights="average")
            seen.append((answer.status, json.dumps(answer.json().get("layers"))))

    whole = [GPT2, BERT]
    bodies = [tar(files) for files in whole]
    threads = [threading.Thread(target=ask_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(30):
        assert put_tar(service, "m", tar(whole[(turn + 1) % 2])).status == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in seen} == {200}
    assert len({layers for _, layers in seen}) == 2
    assert len(seen) > 10


def test_weights_cut_short_under_use_do_not_take_the_server_down(service):
    assert put_tar(service, "m", tar(BERT)).status == 201
    assert ask(service, "m").status == 200
    for path in (service.models / "m").glob("*.safetensors"):
        os.truncate(path, 0)
    problem(ask(service, "m"), 503, "model-failed")
    shown = service.request("GET", "/models/m").json()
    assert (shown["status"], shown["reason"]) == ("failed", "the model's file was cut short while it was in use")
    write(service.models / "m", BERT)
    service.signal(signal.SIGHUP)
    wait_until(lambda: service.request("GET", "/models/m").json()["status"] == "ready")
    assert ask(service, "m").status == 200


def test_a_file_goes_before_a_folder_of_its_name(start_server, tmp_path):
    """What a crash between the two steps of a replacement leaves is the old model or the new, and writing tidies up."""
    (tmp_path / "m").mkdir()
    for name, data in GPT2.items():
        (tmp_path / "m" / name).write_bytes(data)
    (tmp_path / "m.safetensors").write_bytes(layer())
    server = wait_ready(start_server("--models", tmp_path))
    assert [model["kind"] for model in models_of(server)] == ["attention"]
    assert server.request("DELETE", "/models/m").status == 204
    assert [path.name for path in tmp_path.iterdir() if path.name not in (".uploads", "models")] == []


def with_config(files, **changes):
    """The files with other entries in config.json; None takes one out."""
    config = json.loads(files["config.json"]) | changes
    config = {key: value for key, value in config.items() if value is not None}
    return files | {"config.json": json.dumps(config).encode()}


def with_tensors(change):
    """GPT2's files with another header of model.safetensors: `change` gets the header as a dict."""
    data = GPT2["model.safetensors"]
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return GPT2 | {"model.safetensors": struct.pack("<Q", len(text)) + text + data[8 + length :]}


def rename_tensor(header):
    header["transformer.h.0.attn.other"] = header.pop("transformer.h.0.attn.c_attn.weight")


def transpose_tensor(header):
    header["transformer.wpe.weight"]["shape"].reverse()


def with_tokenizer(**changes):
    return GPT2 | {"tokenizer.json": json.dumps(TOKENIZER | changes).encode()}


def inside(archive, name, at):
    """The byte of the archive where byte `at` of a file is."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return opened.getmember(name).offset_data + at


BROKEN_JSON = GPT2 | {"config.json": b'{"model_type": "gpt2",, }'}
BROKEN_HEADER = GPT2 | {"model.safetensors": b"\x09\0\0\0\0\0\0\0[notjson]"}
HUGE_HEADER = GPT2 | {"model.safetensors": b"\xff" * 16}
BROKEN_TOKENIZER = GPT2 | {"tokenizer.json": b'{"version": '}
BROKEN_INDEX = BERT | {"model.safetensors.index.json": b"[]"}


def without(files, *names):
    return {name: data for name, data in files.items() if name not in names}


@pytest.mark.parametrize(
    "files, status, pointer, words",
    [
        ({}, 422, "/config.json", ["config.json"]),
        (without(GPT2, "config.json"), 422, "/config.json", ["config.json"]),
        (without(GPT2, "model.safetensors"), 422, None, ["model.safetensors"]),
        (without(BERT, "model-00002-of-00003.safetensors"), 422, None, ["model-00002-of-00003.safetensors"]),
        (BROKEN_JSON, 400, "/config.json", ["config.json"]),
        (GPT2 | {"config.json": b"[]"}, 400, "/config.json", ["config.json"]),
        (BROKEN_INDEX, 400, None, ["model.safetensors.index.json"]),
        (BROKEN_HEADER, 400, "/model.safetensors", ["model.safetensors"]),
        (HUGE_HEADER, 400, "/model.safetensors", ["model.safetensors"]),
        (GPT2 | {"model.safetensors": GPT2["model.safetensors"][:-4]}, 400, None, ["model.safetensors"]),
        (with_config(GPT2, model_type="gpt5"), 422, "/config.json/model_type", ["gpt5", "bert", "llama"]),
        (with_config(GPT2, model_type=None), 422, "/config.json/model_type", ["model_type"]),
        (with_config(GPT2, n_embd=None), 422, "/config.json/n_embd", ["n_embd"]),
        (with_config(GPT2, n_embd=25), 422, None, ["25"]),
        (with_config(GPT2, n_head="three"), 422, "/config.json/n_head", ["n_head"]),
        (with_config(GPT2, n_layer=1000000), 422, None, []),
        (with_config(GPT2, vocab_size=68), 422, None, ["wte.weight"]),
        (with_tensors(rename_tensor), 422, None, ["h.0.attn.c_attn.weight"]),
        (with_tensors(transpose_tensor), 422, None, ["wpe.weight"]),
        (BROKEN_TOKENIZER, 400, "/tokenizer.json", ["tokenizer.json"]),
        (with_tokenizer(model={"type": "Telepathy"}), 422, None, ["tokenizer.json", "Telepathy", "WordPiece"]),
        (with_tokenizer(pre_tokenizer={"type": "Guess"}), 422, None, ["tokenizer.json", "Guess"]),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(server, files, status, pointer, words):
    body = tar(files)
    found = problem(put_tar(server, "refused", body), status, "malformed-body" if status == 400 else "invalid-request")
    assert all(word in found["detail"] for word in words), found
    assert pointer is None or found.get("pointer") == pointer, found
    assert ("offset" in found) == (status == 400), found
    problem(server.request("GET", "/models/refused"), 404, "model-not-found")


def test_no_path_of_the_server_is_told(server):
    for files in ({}, without(GPT2, "model.safetensors"), without(BERT, "model-00002-of-00003.safetensors")):
        found = problem(put_tar(server, "refused", tar(files)), 422, "invalid-request")
        assert "upload" not in found["detail"] and found["detail"].endswith(": No such file or directory"), found


def test_offsets_are_of_the_archive(server):
    body = tar(BROKEN_HEADER)
    found = problem(put_tar(server, "refused", body), 400, "malformed-body")
    assert found["offset"] == inside(body, "model.safetensors", 8), found
    assert f"byte {found['offset']} of the archive" in found["detail"]
    body = tar(BROKEN_TOKENIZER)
    found = problem(put_tar(server, "refused", body), 400, "malformed-body")
    assert found["offset"] == inside(body, "tokenizer.json", len(BROKEN_TOKENIZER["tokenizer.json"])), found


def changed_at(data, at, new):
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    "body, offset, words",
    [
        (b"", 0, "found 0"),
        (tar(GPT2).rstrip(b"\0")[:-BLOCK], None, "zeros"),
        (tar(GPT2, tarfile.USTAR_FORMAT)[:1000], 1000, "expected"),
        (changed_at(tar(GPT2, tarfile.USTAR_FORMAT), 0, b"x"), 148, "checksum"),
        (tar(GPT2) + b"x", None, "nothing behind"),
        (tar(GPT2, tarfile.USTAR_FORMAT, type=tarfile.SYMTYPE, linkname="/etc/passwd"), 156, "a symbolic link"),
        (tar(GPT2, tarfile.USTAR_FORMAT, type=tarfile.LNKTYPE, linkname="x"), 156, "a hard link"),
        (tar(GPT2, tarfile.USTAR_FORMAT, type=tarfile.CHRTYPE), 156, "a device"),
        (tar(GPT2, tarfile.USTAR_FORMAT, type=tarfile.FIFOTYPE), 156, "a fifo"),
        (tar(GPT2, tarfile.USTAR_FORMAT, type=tarfile.DIRTYPE), 0, "the sub-directory"),
        (tar(GPT2, tarfile.USTAR_FORMAT, prefix="gpt2/"), 0, "in a sub-directory"),
        (tar(GPT2, tarfile.USTAR_FORMAT, prefix="../"), 0, 'found ".."'),
        (tar(GPT2, tarfile.USTAR_FORMAT, prefix="/"), 0, "the absolute path"),
        (tar(GPT2, tarfile.USTAR_FORMAT).rstrip(b"\0") + b"\0" * 100, None, ""),
        (tar({"a": b""}, tarfile.USTAR_FORMAT)[:BLOCK] + tar({"./a": b""}, tarfile.USTAR_FORMAT), BLOCK, "twice"),
    ],
)  # fmt: skip
def test_archives_that_are_none_are_refused_with_the_byte(service, body, offset, words):
    found = problem(put_tar(service, "refused", body), 400, "malformed-body")
    assert words in found["detail"], found
    assert offset is None or found["offset"] == offset, found
    assert f"at byte {found['offset']}" in found["detail"]
    assert models_of(service) == []
    assert [path.name for path in service.models.iterdir() if path.name != ".uploads"] == []
    wait_until(lambda: not uploads_of(service.models))


def test_settings_of_the_query_string_are_not_for_folders(server):
    for name in ["num_heads", "num_kv_heads", "add_zero_attn", "norm_first", "activation"]:
        assert problem(put_tar(server, "m", tar(GPT2), f"?{name}=1"), 422, "invalid-request")["parameter"] == name
    assert problem(put_tar(server, "m", tar(GPT2), "?x=1"), 422, "invalid-request")["parameter"] == "x"


def test_conditions_hold_for_folders(service):
    problem(put_tar(service, "m", tar(GPT2), If_Match="*"), 412, "precondition-failed")
    tag = put_tar(service, "m", tar(GPT2), If_None_Match="*").headers["ETag"]
    problem(put_tar(service, "m", tar(BERT), If_None_Match="*"), 412, "precondition-failed")
    problem(put_tar(service, "m", tar(BERT), If_Match='"x"'), 412, "precondition-failed")
    assert on_disk(service.models / "m") == GPT2
    wait_until(lambda: not uploads_of(service.models))
    assert service.request("GET", "/models/m", headers={"If-None-Match": tag}).status == 304
    replaced = put_tar(service, "m", tar(BERT), If_Match=tag)
    assert (replaced.status, replaced.headers["ETag"]) == (200, f'"{digest_of(BERT)}"')
    problem(service.request("DELETE", "/models/m", headers={"If-Match": tag}), 412, "precondition-failed")
    assert service.request("DELETE", "/models/m", headers={"If-Match": replaced.headers["ETag"]}).status == 204


def test_a_folder_given_by_flag_is_read_only(start_server, tmp_path):
    server = wait_ready(start_server("--model", f"given={GOLDEN / 'bert'}"))
    shown = server.request("GET", "/models/given").json()
    assert (shown["status"], shown["architecture"]) == ("ready", "BertModel")
    problem(put_tar(server, "given", tar(GPT2)), 409, "conflict")
    problem(server.request("DELETE", "/models/given"), 409, "conflict")
    assert (GOLDEN / "bert" / "config.json").read_bytes() == BERT["config.json"]


def test_organisations_and_models_do_not_mix(service):
    assert put_tar(service, "org/m", tar(GPT2)).status == 201
    found = problem(put_tar(service, "org", tar(GPT2)), 409, "conflict")
    assert "no model's folder" in found["detail"]
    problem(put_tar(service, "org/m/x", tar(GPT2)), 422, "invalid-request")
    assert put_tar(service, "other", tar(GPT2)).status == 201
    problem(put_tar(service, "other/m", tar(GPT2)), 409, "conflict")
    problem(put(service, "other/m", layer()), 409, "conflict")
    assert [model["id"] for model in models_of(service)] == ["org/m", "other"]
    wait_until(lambda: not uploads_of(service.models))


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_hangup_sees_folders_that_came_changed_and_went(service):
    write(service.models / "changes", GPT2)
    write(service.models / "org" / "comes", BERT)
    write(service.models / "org" / "broken", {"config.json": b"{"})
    (service.models / "empty").mkdir()
    put_tar(service, "goes", tar(GPT2))
    for path in (service.models / "goes").iterdir():
        path.unlink()
    (service.models / "goes").rmdir()
    service.signal(signal.SIGHUP)
    wait_until(lambda: [one["id"] for one in models_of(service)] == ["changes", "org/broken", "org/comes"])
    broken = service.request("GET", "/models/org/broken").json()
    assert (broken["status"], broken["kind"]) == ("failed", "transformer")
    assert "config.json" in broken["reason"]

    (service.models / "changes" / "notes.txt").write_text("x")
    service.signal(signal.SIGHUP)
    wait_until(lambda: service.request("GET", "/models/changes").json()["sha256"] ==
               digest_of(GPT2 | {"notes.txt": b"x"}))
    write(service.models / "org" / "broken", GPT2)
    service.signal(signal.SIGHUP)
    wait_until(lambda: service.request("GET", "/models/org/broken").json()["status"] == "ready")


def test_uploads_beyond_the_limit_are_refused_and_leave_nothing(start_server, tmp_path):
    server = start_server("--models", tmp_path, "--max-model", "64K")
    problem(put_tar(server, "m", tar(GPT2)), 413, "body-too-large")
    wait_until(lambda: not uploads_of(tmp_path))
    assert models_of(server) == []


def test_a_full_disk_is_said_and_leaves_nothing(service):
    """A limit on files' size stands for a full disk: the kernel refuses the write in the same place."""
    import resource

    assert put_tar(service, "m", tar(BERT)).status == 201
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (60000, 60000))
    problem(put_tar(service, "m", tar(GPT2)), 507, "insufficient-storage")
    assert on_disk(service.models / "m") == BERT
    wait_until(lambda: not uploads_of(service.models))


def test_a_server_killed_during_uploads_leaves_the_old_model_or_the_new(start_server, tmp_path):
    """Rounds of: start, look, upload over and over, kill at a random moment. The folder is always whole."""
    whole = [GPT2, BERT]
    bodies = [tar(files) for files in whole]
    digests = {digest_of(files) for files in whole}
    chance = random.Random(11)
    found = set()
    for turn in range(20):
        server = wait_ready(start_server("--models", tmp_path))
        models = models_of(server)
        assert [model["status"] for model in models] == ["ready"] * len(models), models
        assert not uploads_of(tmp_path)
        found |= {model["sha256"] for model in models}

        kill_during_uploads(server, bodies, TAR["Content-Type"], chance.uniform(0.0, 0.1))
        if (tmp_path / "m").exists():
            assert on_disk(tmp_path / "m") in whole
    assert found and found <= digests


def test_a_client_that_goes_during_an_upload_leaves_nothing(service):
    body = tar(GPT2)
    connection = socket.create_connection(("127.0.0.1", service.port))
    connection.sendall(
        b"PUT /models/m HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body[:50000]
    )
    wait_until(lambda: uploads_of(service.models))
    connection.close()
    wait_until(lambda: not uploads_of(service.models))
    problem(service.request("GET", "/models/m"), 404, "model-not-found")


STATE_DICT = (GOLDEN / "torch_encoder_norm_first" / "state_dict.safetensors").read_bytes()
WHOLE_TRANSFORMER = (GOLDEN / "torch_transformer" / "state_dict.safetensors").read_bytes()


def with_header(data, change):
    """Another header before the same data: `change` gets it as a dict."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def described(**metadata):
    return with_header(STATE_DICT, lambda header: header.update(__metadata__=metadata))


def misnamed(header):
    header["layers.0.norm3.weight"] = header.pop("layers.0.norm1.weight")


def test_a_state_dict_is_a_whole_model_and_keeps_its_settings(service, start_server):
    query = "?num_heads=3&norm_first=true&activation=gelu"
    answer = put(service, "m", STATE_DICT, query)
    assert answer.status == 201, answer.body
    shown = answer.json()
    assert (shown["kind"], shown["layers"], shown["heads"], shown["hidden_size"]) == ("transformer", 2, 3, 24)
    assert {"name": "layers.1.linear1.weight", "shape": [40, 24], "dtype": "float32"} in shown["tensors"]
    service.stop()
    again = wait_ready(start_server("--models", service.models))
    found = again.request("GET", "/models/m")
    assert found.json() == shown
    assert found.headers["ETag"] == answer.headers["ETag"]
    whole = put(again, "both", WHOLE_TRANSFORMER, "?num_heads=3&activation=gelu")
    assert whole.status == 201, whole.body
    assert (whole.json()["kind"], whole.json()["layers"]) == ("transformer", 4)


@pytest.mark.parametrize(
    "body, query, members",
    [
        (STATE_DICT, "", {"pointer": "/__metadata__/num_heads"}),
        (STATE_DICT, "?num_heads=5", {"parameter": "num_heads"}),
        (described(num_heads="5"), "", {"pointer": "/__metadata__/num_heads"}),
        (described(num_heads="3"), "?num_heads=4", {"parameter": "num_heads"}),
        (described(num_heads="3", activation="gelu"), "?activation=relu", {"parameter": "activation"}),
        (described(num_heads="3", norm_first="perhaps"), "", {"pointer": "/__metadata__/norm_first"}),
        (STATE_DICT, "?num_heads=3&norm_first=perhaps", {"parameter": "norm_first"}),
        (STATE_DICT, "?num_heads=3&activation=tanh", {"parameter": "activation"}),
        (STATE_DICT, "?num_heads=3&num_kv_heads=3", {"parameter": "num_kv_heads"}),
        (STATE_DICT, "?num_heads=3&add_zero_attn=true", {"parameter": "add_zero_attn"}),
        (layer(), "?norm_first=true", {"parameter": "norm_first"}),
        (layer(), "?activation=relu", {"parameter": "activation"}),
        (with_header(STATE_DICT, misnamed), "?num_heads=3", {}),
        (safetensors({"model.layers.0.x": ((2,), [1, 2])}), "?num_heads=3", {"pointer": "/model.layers.0.x"}),
    ],
)
def test_state_dicts_that_are_none_are_refused(server, body, query, members):
    found = problem(put(server, "refused", body, query), 422, "invalid-request")
    for name, value in members.items():
        assert found.get(name) == value, found
    problem(server.request("GET", "/models/refused"), 404, "model-not-found")
