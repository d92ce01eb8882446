"""Models over HTTP: upload, list, show, replace, delete, conditions, crashes, files changed under the server."""

import hashlib
import json
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest

from conftest import wait_until
from uploads import kill_during_uploads

SAFETENSORS = {"Content-Type": "application/vnd.safetensors"}
URN = "urn:attnd:problem:"


def safetensors(tensors, metadata=None):
    """A safetensors file of float32 tensors: {name: (shape, values)}."""
    header = {"__metadata__": metadata} if metadata is not None else {}
    data = b""
    for name, (shape, values) in tensors.items():
        piece = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def layer(width=4, num_heads="2", fill=0.5, **metadata):
    """An attention layer in the names of torch.nn.MultiheadAttention."""
    tensors = {
        "in_proj_weight": ((3 * width, width), [fill] * (3 * width * width)),
        "in_proj_bias": ((3 * width,), [0.0] * (3 * width)),
        "out_proj.weight": ((width, width), [1.0 if i % (width + 1) == 0 else 0.0 for i in range(width * width)]),
        "out_proj.bias": ((width,), [0.0] * width),
    }
    metadata |= {"num_heads": num_heads} if num_heads else {}
    return safetensors(tensors, metadata or None)


def problem(answer, status, kind):
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    body = answer.json()
    assert body["type"] == URN + kind
    assert body["status"] == status
    return body


def put(server, name, body, query="", **headers):
    sent = SAFETENSORS | {key.replace("_", "-"): value for key, value in headers.items()}
    return server.request("PUT", f"/models/{name}{query}", body, sent)


@pytest.fixture(name="start_server")
def start_ready_server(start_server):
    """The common fixture, and a wait until the models are loaded."""

    def start(*arguments):
        started = start_server(*arguments)
        wait_until(lambda: started.request("GET", "/readyz").status == 200)
        return started

    return start


@pytest.fixture
def service(start_server, tmp_path):
    """A server with a models directory of its own, in service.models."""
    models = tmp_path / "models"
    models.mkdir()
    started = start_server("--models", str(models))
    started.models = models
    yield started
    started.stop()


def test_an_upload_is_listed_shown_used_and_deleted(service):
    body = layer()
    answer = put(service, "org/first", body)
    assert answer.status == 201, answer.body
    digest = hashlib.sha256(body).hexdigest()
    assert answer.headers["Location"] == "/models/org/first"
    assert answer.headers["ETag"] == f'"{digest}"'

    described = {
        "id": "org/first", "kind": "attention", "architecture": "multi_head_attention", "layers": 1, "heads": 2,
        "kv_heads": 2, "hidden_size": 4, "max_positions": None, "parameters": 80, "dtype": "float32",
        "bytes": len(body), "status": "ready", "sha256": digest,
    }  # fmt: skip
    assert service.request("GET", "/models").json() == {"models": [described]}

    shown = service.request("GET", "/models/org/first")
    assert shown.headers["ETag"] == f'"{digest}"'
    tensors = shown.json().pop("tensors")
    assert {key: value for key, value in shown.json().items() if key != "tensors"} == described
    assert {"name": "in_proj_weight", "shape": [12, 4], "dtype": "float32"} in tensors
    assert len(tensors) == 4
    assert (service.models / "org" / "first.safetensors").read_bytes() == body

    request = {"model": "org/first", "query": [[1, 0, 0, 0], [0, 1, 0, 0]]}
    used = service.request("POST", "/attention", json.dumps(request), {"Content-Type": "application/json"})
    assert used.status == 200, used.body
    assert used.json()["dims"]["heads"] == 2
    assert used.json()["output"] == [[0.5] * 4] * 2  # every value is 0.5 * (1 + 0 + 0 + 0), whatever the weights

    head = service.request("HEAD", "/models/org/first")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", f'"{digest}"')
    deleted = service.request("DELETE", "/models/org/first")
    assert (deleted.status, deleted.body) == (204, b"")
    problem(service.request("GET", "/models/org/first"), 404, "model-not-found")
    problem(service.request("DELETE", "/models/org/first"), 404, "model-not-found")
    assert service.request("GET", "/models").json() == {"models": []}
    assert not (service.models / "org").exists()


def test_settings_of_the_query_string_survive_a_restart(service, start_server):
    answer = put(service, "m", layer(num_heads=None), "?num_heads=4&add_zero_attn=true")
    assert answer.status == 201, answer.body
    tag = answer.headers["ETag"]
    assert put(service, "m", layer(num_heads=None), "?num_heads=4&add_zero_attn=true").status == 200
    service.stop()
    again = start_server("--models", str(service.models))
    shown = again.request("GET", "/models/m")
    assert shown.json()["heads"] == 4
    assert shown.headers["ETag"] == tag
    again.stop()


def cut(body, by):
    return body[:-by]


WHOLE = {"layers.0.self_attn.in_proj_weight": ((12, 4), [0.0] * 48)}


@pytest.mark.parametrize(
    "body, query, status, kind, members",
    [
        (b"", "", 400, "malformed-body", {"offset": 0}),
        (b"\x02\0\0\0\0\0\0\0[]", "", 400, "malformed-body", {"offset": 8}),
        (b"\xff" * 16, "", 400, "malformed-body", {"offset": 0}),
        (cut(layer(), 1), "", 400, "malformed-body", {}),
        (layer() + b"x", "", 400, "malformed-body", {"offset": len(layer())}),
        (layer(num_heads=None), "", 422, "invalid-request", {"pointer": "/__metadata__/num_heads"}),
        (layer(num_heads="two"), "", 422, "invalid-request", {"pointer": "/__metadata__/num_heads"}),
        (layer(), "?num_heads=", 422, "invalid-request", {"parameter": "num_heads"}),
        (layer(), "?num_kv_heads", 422, "invalid-request", {"parameter": "num_kv_heads"}),
        (layer(), "?num_heads=0", 422, "invalid-request", {"parameter": "num_heads"}),
        (layer(), "?num_heads=4", 422, "invalid-request", {"parameter": "num_heads"}),
        (layer(num_heads=None), "?num_heads=", 422, "invalid-request", {"parameter": "num_heads"}),
        (layer(num_heads=None), "?num_heads=2&num_kv_heads=3", 422, "invalid-request",
         {"parameter": "num_kv_heads", "pointer": None}),
        (layer(num_kv_heads="3"), "", 422, "invalid-request", {"pointer": "/__metadata__/num_kv_heads"}),
        (layer(), "?norm_first=1", 422, "invalid-request", {"parameter": "norm_first"}),
        (layer(), "?num_heads=2&num_heads=2", 422, "invalid-request", {"parameter": "num_heads"}),
        (safetensors({}, {"num_heads": "2"}), "", 422, "invalid-request", {}),
        (safetensors({"x": ((2,), [1, 2])}, {"num_heads": "2"}), "", 422, "invalid-request", {}),
        (safetensors(WHOLE), "", 422, "invalid-request", {"pointer": "/layers.0.self_attn.in_proj_weight"}),
    ],
)
def test_what_is_no_attention_layer_is_refused(server, body, query, status, kind, members):
    found = problem(put(server, "refused", body, query), status, kind)
    for name, value in members.items():
        assert found.get(name) == value, found
    problem(server.request("GET", "/models/refused"), 404, "model-not-found")


@pytest.mark.parametrize("media", ["application/json", "application/octet-stream", None])
def test_other_media_types_are_refused(server, media):
    headers = {"Content-Type": media} if media else {}
    found = problem(server.request("PUT", "/models/m", layer(), headers), 415, "unsupported-media-type")
    assert "application/vnd.safetensors" in found["detail"]
    assert "application/x-tar" in found["detail"]


@pytest.mark.parametrize(
    "name",
    ["attention", "config", "a/infer", "versions", ".hidden", "-a", "a%20b", "%2e%2e", "..%2fx", "..", "a/..", "a%5cb",
     "x" * 129, "a%00b", "%C3%A4", "a/b/c", "a/b/c/d", "..%2f..%2fx"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_impossible_ids_are_refused(server, name, method):
    answer = server.request(method, f"/models/{name}", layer() if method == "PUT" else None, SAFETENSORS)
    problem(answer, 422, "invalid-request")


def test_nothing_is_written_outside_the_directory(service):
    before = sorted(service.models.parent.iterdir())
    for name in ["../out", "..%2fout", "%2e%2e/out", "a/../../out", "/out", "%2fout", ".uploads/x", "a/b/c"]:
        answer = put(service, name, layer())
        assert answer.status in (400, 404, 422), (name, answer.status)
    assert sorted(service.models.parent.iterdir()) == before
    assert service.request("GET", "/models").json() == {"models": []}


def test_conditions(service):
    first, second = layer(fill=0.5), layer(fill=0.25)
    problem(put(service, "m", first, If_Match="*"), 412, "precondition-failed")
    made = put(service, "m", first, If_None_Match="*")
    assert made.status == 201
    tag = made.headers["ETag"]
    problem(put(service, "m", second, If_None_Match="*"), 412, "precondition-failed")
    problem(put(service, "m", second, If_Match='"x", "y"'), 412, "precondition-failed")
    problem(put(service, "m", second, If_Match="W/" + tag), 412, "precondition-failed")
    problem(put(service, "m", second, If_Match="unquoted"), 400, "bad-header")

    assert service.request("GET", "/models/m", headers={"If-None-Match": '"x"'}).status == 200
    for condition in [tag, "W/" + tag, '"x", ' + tag, "*"]:
        answer = service.request("GET", "/models/m", headers={"If-None-Match": condition})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
        whole = service.request("GET", "/models/m", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(whole.body))
    problem(service.request("GET", "/models/m", headers={"If-Match": '"x"'}), 412, "precondition-failed")
    assert service.request("GET", "/models/m", headers={"If-Match": tag}).status == 200

    replaced = put(service, "m", second, If_Match='"x", ' + tag)
    assert replaced.status == 200
    assert "Location" not in replaced.headers
    problem(service.request("DELETE", "/models/m", headers={"If-Match": tag}), 412, "precondition-failed")
    assert service.request("DELETE", "/models/m", headers={"If-Match": replaced.headers["ETag"]}).status == 204


def test_models_given_by_flag_are_read_only(start_server, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(layer())
    (tmp_path / "models").mkdir()
    server = start_server("--models", str(tmp_path / "models"), "--model", f"given={path}")
    assert server.request("GET", "/models/given").status == 200
    problem(put(server, "given", layer()), 409, "conflict")
    problem(server.request("DELETE", "/models/given"), 409, "conflict")
    assert path.read_bytes() == layer()
    server.stop()


def test_what_does_not_load_is_listed_with_its_reason(start_server, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\1\0\0\0\0\0\0\0x")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    server = start_server("--models", str(tmp_path))
    bad, bert = server.request("GET", "/models").json()["models"]
    assert (bad["id"], bad["status"], bad["heads"]) == ("bad", "failed", None)
    assert "expected '{'" in bad["reason"]
    assert (bert["id"], bert["kind"], bert["status"]) == ("bert", "transformer", "failed")
    assert bert["reason"].startswith("config.json/model_type: ")
    server.stop()


def test_hangup_reads_the_directory_again(service):
    (service.models / "new.safetensors").write_bytes(layer())
    put(service, "old", layer())
    (service.models / "old.safetensors").unlink()
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: [m["id"] for m in service.request("GET", "/models").json()["models"]] == ["new"])


def test_a_request_in_flight_finishes_on_the_model_it_began_with(service):
    """Answers are of the old weights or the new, never of a mixture, and there are no failures."""
    put(service, "m", layer(fill=0.5))
    seen, stop = [], threading.Event()

    def ask():
        body = json.dumps({"model": "m", "query": [[1, 0, 0, 0]], "weights": "none"})
        while not stop.is_set():
            answer = service.request("POST", "/attention", body, {"Content-Type": "application/json"})
            seen.append((answer.status, tuple(answer.json().get("output", [[]])[0])))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(40):
        assert put(service, "m", layer(fill=[0.5, 0.25][turn % 2])).status == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen) <= {(200, (0.5,) * 4), (200, (0.25,) * 4)}
    assert len(seen) > 10


def test_a_file_cut_short_under_use_does_not_take_the_server_down(service):
    width = 512
    path = service.models / "m.safetensors"
    assert put(service, "m", layer(width=width)).status == 201
    request = json.dumps({"model": "m", "query": [[1.0] * width], "weights": "none"})
    headers = {"Content-Type": "application/json"}
    assert service.request("POST", "/attention", request, headers).status == 200
    os.truncate(path, 8192)
    problem(service.request("POST", "/attention", request, headers), 503, "model-failed")
    shown = service.request("GET", "/models/m").json()
    assert (shown["status"], shown["reason"]) == ("failed", "the model's file was cut short while it was in use")
    path.write_bytes(layer(width=width))
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.request("GET", "/models/m").json()["status"] == "ready")
    assert service.request("POST", "/attention", request, headers).status == 200


def test_uploads_beyond_the_limit_are_refused_and_leave_nothing(start_server, tmp_path):
    server = start_server("--models", str(tmp_path), "--max-model", "1K")
    problem(put(server, "m", layer(width=32)), 413, "body-too-large")

    def pieces():
        body = layer(width=32)
        for at in range(0, len(body), 512):
            yield body[at : at + 512]

    try:
        answer = put(server, "m", pieces())
        assert answer.status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server may close while the rest is being sent
    assert put(server, "m", layer()).status in (201, 413)
    wait_until(lambda: not any((tmp_path / ".uploads").glob("*")))
    server.stop()


def test_a_server_killed_during_uploads_leaves_the_old_model_or_the_new(start_server, tmp_path):
    """Many rounds of: start, look, upload over and over, kill at a random moment. The file is always whole."""
    bodies = [layer(width=96, fill=fill) for fill in (0.5, 0.25)]
    digests = {hashlib.sha256(body).hexdigest() for body in bodies}
    chance = random.Random(7)
    found = set()
    for turn in range(25):
        server = start_server("--models", str(tmp_path))
        models = server.request("GET", "/models").json()["models"]
        assert [model["status"] for model in models] == ["ready"] * len(models)
        assert not any((tmp_path / ".uploads").glob("*"))
        if turn > 0:
            found |= {model["sha256"] for model in models}

        kill_during_uploads(server, bodies, SAFETENSORS["Content-Type"], chance.uniform(0.0, 0.08))
        on_disk = list(tmp_path.glob("*.safetensors"))
        assert all(hashlib.sha256(path.read_bytes()).hexdigest() in digests for path in on_disk)
    assert found and found <= digests


def test_a_client_that_goes_during_an_upload_leaves_nothing(service):
    body = layer(width=96)
    connection = socket.create_connection(("127.0.0.1", service.port))
    connection.sendall(
        b"PUT /models/m HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.safetensors\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body[:50000]
    )
    wait_until(lambda: any((service.models / ".uploads").glob("*")))
    connection.close()
    wait_until(lambda: not any((service.models / ".uploads").glob("*")))
    problem(service.request("GET", "/models/m"), 404, "model-not-found")


def test_unknown_query_parameters_are_named(server):
    for method, path in [("GET", "/models?x=1"), ("GET", "/models/m?x=1"), ("DELETE", "/models/m?x=1")]:
        assert problem(server.request(method, path), 422, "invalid-request")["parameter"] == "x"


def test_an_upload_after_the_directory_has_gone_is_a_conflict(start_server, tmp_path):
    directory = tmp_path / "taken-away"
    directory.mkdir()
    server = start_server("--models", directory)
    directory.rename(tmp_path / "elsewhere")
    assert "No such file" in problem(put(server, "m", layer()), 409, "conflict")["detail"]
    (tmp_path / "elsewhere").rename(directory)
    assert put(server, "m", layer()).status == 201
