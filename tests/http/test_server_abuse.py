"""What a server must live through: targets, framing and pipelines that are odd, storms, leaks, no descriptors, no disk."""
import gzip
import json
import os
import resource
import signal
import socket
import struct
import subprocess

import pytest

import conftest
from client import Client
from conftest import ATTND, wait_until
from test_models import SAFETENSORS, layer
from test_server import problem_of
from test_server_work import LARGE, SMALL, TYPE, begin, post


def exchange(server, text, method="GET"):
    client = server.client()
    client.send(text)
    return client.receive(method)


def attention(body, close=False):
    head = f"POST /attention HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + (b"Connection: close\r\n" if close else b"") + b"\r\n" + body


@pytest.mark.parametrize("target, status", [
    ("http://localhost/livez", 200), ("HTTP://a:80/livez?", 200), ("http://a", 404), ("http:///livez", 404),
    ("//livez", 404), ("/livez/", 404), ("/%6civez", 200), ("/models/a%2Fb", 404), ("/models/a/b/c", 422),
    ("/models/..%2F..%2Fetc", 422), ("/models/a/", 404), ("/models//a", 404), ("/models/..%2Fetc", 422), ("/livez?" + "&".join(f"a{i}=1" for i in range(50)), 422), ("/livez%", 404),
])
def test_targets_in_every_form(server, target, status):
    response = exchange(server, f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert response.status == status, response.body


def test_chunks_in_http_1_0_are_a_400(server):
    client = server.client()
    client.send(b"POST /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.0\r\n\r\n")
    problem_of(client.receive(), 400, "bad-framing")
    assert client.is_closed()


def test_many_header_fields_are_read_or_refused(server):
    fields = "".join(f"X-{i}: {'v' * 40}\r\n" for i in range(200))
    assert exchange(server, f"GET /livez HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()).status == 200
    response = exchange(server, f"GET /livez HTTP/1.1\r\nHost: a\r\n{fields * 10}\r\n".encode())
    assert 400 <= response.status < 500


def test_a_request_behind_one_that_waits_for_a_worker_is_answered_after_it(server):
    client = server.client()
    client.send(attention(LARGE) + b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" + attention(SMALL))
    first, second, third = client.receive(), client.receive(), client.receive()
    assert (first.status, second.status, third.status) == (200, 200, 200)
    assert "live" in second.json and len(first.body) > len(third.body)


def test_a_drain_ends_pipelines_without_an_abort(start_server):
    server = start_server("--workers", 1, "--drain-timeout", "0.05")
    clients = [server.client() for _ in range(6)]
    for client in clients:
        client.send(attention(LARGE) + attention(SMALL) * 100)
    wait_until(lambda: server.metric("attnd_queue_depth") >= 2, what="a queue")
    server.signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_log_lines_cannot_be_forged(server):
    path = "/nothing%0a%7b%22message%22:%22forged%22%7d%22%5c%ed%a0%80%e0%80%80"
    exchange(server, f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: forge-1\r\ntraceparent: \"\\\r\n\r\n".encode())
    line = server.wait_request(id="forge-1")
    assert line["path"].startswith('/nothing\n{"message":"forged"}"\\') and line["traceparent"] == '"\\'


def test_an_answer_to_head_counts_no_bytes(server):
    server.client().request("HEAD", "/openapi.yaml", headers={"X-Request-Id": "head-1"})
    assert server.wait_request(id="head-1")["bytes_out"] == 0


def test_preflights_name_method_headers_and_origin(start_server, tmp_path):
    (tmp_path / "keys").write_text("secret-key-1 infer\n")
    server = start_server("--cors-origin", "https://a.example", "--api-keys", tmp_path / "keys")
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key, content-type"}
    response = server.client().request("OPTIONS", "/attention", headers={"Origin": "https://a.example", **asked})
    assert response.status == 204
    assert response.headers["access-control-allow-origin"] == "https://a.example"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "x-api-key, content-type"
    other = server.client().request("OPTIONS", "/attention", headers={"Origin": "https://b.example", **asked})
    assert "access-control-allow-origin" not in other.headers
    for one in (response, other, server.client().request("GET", "/livez")):
        assert ("Vary", "Origin") in one.header_list
    refused = server.client().request("POST", "/attention", SMALL, {"Origin": "https://a.example", **TYPE})
    assert refused.status == 401 and refused.headers["access-control-allow-origin"] == "https://a.example"


def test_a_rate_limit_says_when_to_come_back(start_server, tmp_path):
    (tmp_path / "keys").write_text("secret-key-1 infer rate=0.1/s\n")
    server = start_server("--api-keys", tmp_path / "keys")
    key = {"Authorization": "Bearer secret-key-1"}
    assert post(server.client(), SMALL, **key).status == 200
    limited = post(server.client(), SMALL, **key)
    problem_of(limited, 429, "rate-limited")
    assert 9 <= int(limited.headers["retry-after"]) <= 11


def test_what_is_in_work_is_shown_with_its_model(start_server):
    server = start_server("--workers", 1)
    width = 64
    assert server.request("PUT", "/models/org/layer", layer(width, "2"), SAFETENSORS).status == 201
    query = [[0.5] * width] * 4000
    body = json.dumps({"model": "org/layer", "query": query, "weights": "none"}).encode()
    clients = [begin(server, body) for _ in range(3)]

    def shown():
        return [one for one in server.get("/debug/requests").json["requests"] if one["phase"] == "running"]

    found = wait_until(lambda: [one for one in shown() if one["model"]] or None, what="a running request's model")
    assert found[0]["model"] == "org/layer" and found[0]["route"] == "attention" and found[0]["bytes"] == len(body)
    assert [client.receive().status for client in clients] == [200] * 3


def test_models_may_be_uploaded_compressed(start_server):
    server = start_server("--max-model", "1K")
    body = layer()
    assert server.request("PUT", "/models/plain", body, SAFETENSORS).status == 201
    packed = SAFETENSORS | {"Content-Encoding": "gzip"}
    answer = server.request("PUT", "/models/packed", gzip.compress(body), packed)
    assert answer.status == 201, answer.body
    assert answer.headers["ETag"] == server.request("GET", "/models/plain").headers["ETag"]
    for sent, status in [(gzip.compress(body) * 2, 400), (gzip.compress(body)[:-1], 400), (b"", 400),
                         (gzip.compress(body + b" " * 1024), 413)]:
        assert server.request("PUT", "/models/other", sent, packed).status == status
    assert {one["id"] for one in server.request("GET", "/models").json()["models"]} == {"plain", "packed"}


def test_an_upload_that_finds_no_room_is_a_507(start_server, tmp_path, monkeypatch):
    start = subprocess.Popen
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # noqa: E731
    monkeypatch.setattr(conftest.subprocess, "Popen", lambda *a, **k: start(*a, **k, preexec_fn=limit))
    server = start_server()
    answer = server.request("PUT", "/models/big", layer(32), SAFETENSORS)
    assert answer.status == 507 and answer.json()["type"] == "urn:attnd:problem:insufficient-storage"
    answer = server.request("PUT", "/models/big", gzip.compress(layer(32)), SAFETENSORS | {"Content-Encoding": "gzip"})
    assert answer.status == 507
    assert server.request("PUT", "/models/small", layer(2), SAFETENSORS).status == 201
    assert not [name for _, _, names in os.walk(tmp_path / "models") for name in names if name.startswith("upload")]


def reset(client):
    """Closes so that the peer gets a reset."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_memory_is_back_at_its_idle_value_after_a_storm_of_aborted_requests(start_server):
    server = start_server("--workers", 2)
    idle = server.metric("attnd_memory_used_bytes")
    pieces = [attention(LARGE), attention(LARGE)[:300], attention(SMALL), attention(SMALL)[:-1], attention(LARGE) * 3,
              b"POST /attention HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 500,
              attention(gzip.compress(LARGE)).replace(b"Host: a", b"Host: a\r\nContent-Encoding: gzip"),
              b"GET /metr", b""]
    for i in range(150):
        client = server.client()
        client.send(pieces[i % len(pieces)])
        if i % 2 or i % len(pieces) == 4:  # what is not read yet hides the end behind it
            reset(client)
        else:
            client.close()
    wait_until(lambda: server.metric("attnd_connections") == 1 and server.metric("attnd_workers_busy") == 0
               and server.metric("attnd_queue_depth") == 0, what="an idle server")
    wait_until(lambda: server.metric("attnd_memory_used_bytes") == idle, what="the memory given back")


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def test_ten_thousand_connections_leave_no_descriptor(start_server):
    server = start_server("--log-level", "info")
    before = descriptors(server)
    for i in range(10000):
        client = Client(server.host, server.port)
        client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" if i % 2 else b"GET /li")
        if i % 2:
            assert client.receive().status == 200
        reset(client)
    wait_until(lambda: descriptors(server) <= before, what="all descriptors closed")


def test_it_recovers_where_no_descriptors_are_left(start_server):
    server = start_server("--log-level", "info")
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (descriptors(server) + 20,) * 2)
    clients = [server.client() for _ in range(60)]
    for client in clients:
        client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert {client.receive().status for client in clients} == {200}
    assert server.get("/livez").status == 200


def test_more_than_a_thousand_connections_are_served(start_server):
    server = start_server("--max-connections", 2000)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("the system allows no more than " + str(hard) + " descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = [server.client() for _ in range(1500)]
    for _ in range(2):
        for client in clients:
            client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert {client.receive().status for client in clients} == {200}


def test_connections_are_spread_over_the_event_threads(start_server):
    server = start_server("--workers", 4)
    clients = [server.client() for _ in range(64)]
    for client in clients:
        assert client.request("GET", "/livez").status == 200
    # ids of requests begin with 16 digits of the event thread's own
    threads = {}
    for client in clients:
        prefix = client.request("GET", "/livez").headers["x-request-id"][:16]
        threads[prefix] = threads.get(prefix, 0) + 1
    assert len(threads) == 4 and max(threads.values()) <= 20  # two may pick the same at the same time
    assert server.stop() == 0


def test_check_config_reads_the_keys(tmp_path):
    (tmp_path / "keys").write_text("# fine\nsecret-key-1 infer\nsecret-key-2 root\n")
    command = [ATTND, "check-config", "--models", tmp_path, "--api-keys", tmp_path / "keys"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and "line 3: expected scopes" in result.stderr
    (tmp_path / "keys").write_text("secret-key-1 infer\nsecret-key-1 admin\n")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and "line 2: this key stands here twice" in result.stderr
    (tmp_path / "keys").write_text("secret-key-1 infer\n")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_healthcheck_asks_over_tls(start_server, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=public.example", "-keyout", tmp_path / "key.pem", "-out",
                    tmp_path / "cert.pem"], check=True, capture_output=True)
    server = start_server("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem")
    ask = [ATTND, "healthcheck"]
    assert subprocess.run([*ask, f"https://127.0.0.1:{server.port}"], capture_output=True, check=False).returncode == 0
    assert subprocess.run([*ask, f"http://127.0.0.1:{server.port}"], capture_output=True, check=False).returncode == 1
