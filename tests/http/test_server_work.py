"""Requests that cost something: queue, deadlines, clients that go, bodies and their limits, draining with work."""
import gzip
import json
import os
import signal
import zlib

import pytest

from conftest import wait_until
from test_server import problem_of

SMALL = json.dumps({"query": [[1, 2], [3, 4]]}).encode()
# A computation of seconds whose body is small and whose answer is not; sanitizers make seconds of fewer rows.
LARGE_ROWS = 2400 if "ATTND" in os.environ else 6000
LARGE = json.dumps({"query": {"shape": [LARGE_ROWS, 64], "dtype": "uint8", "base64": "A" * (LARGE_ROWS * 64 // 3 * 4)},
                    "weights": "none", "num_heads": 64}).encode()
TYPE = {"Content-Type": "application/json"}


def post(client, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request("POST", "/attention", body=body, headers={**TYPE, **named})


def begin(server, body, **headers):
    client = server.client()
    lines = ["POST /attention HTTP/1.1", "Host: a", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return client


def test_a_client_that_goes_cancels_its_request(start_server):
    server = start_server("--workers", 1)
    begin(server, LARGE, X_Request_Id="gone-1").close()
    line = server.wait_request(id="gone-1")
    assert line["status"] == 499
    assert server.metric('attnd_requests_total{route="attention",status="499"}') == 1
    assert post(server.client(), SMALL).status == 200


def test_a_deadline_of_the_client_is_a_504(server):
    problem_of(post(server.client(), LARGE, Request_Timeout_Ms="5"), 504, "deadline-passed")


def test_a_deadline_that_passes_in_the_queue_is_a_504_at_once(start_server):
    server = start_server("--workers", 1)
    running = begin(server, LARGE)
    wait_until(lambda: server.metric("attnd_workers_busy") == 1, what="a busy worker")
    problem_of(post(server.client(), LARGE, Request_Timeout_Ms="50"), 504, "deadline-passed")
    assert server.metric("attnd_workers_busy") == 1 and server.metric("attnd_queue_depth") == 0
    assert running.receive().status == 200


def test_a_client_that_goes_leaves_its_place_in_the_queue(start_server):
    server = start_server("--workers", 1, "--queue", 1)
    running = begin(server, LARGE)
    wait_until(lambda: server.metric("attnd_workers_busy") == 1, what="a busy worker")
    waiting = begin(server, LARGE, X_Request_Id="gone-2")
    wait_until(lambda: server.metric("attnd_queue_depth") == 1, what="a full queue")
    waiting.close()
    assert server.wait_request(id="gone-2")["status"] == 499
    assert server.metric("attnd_workers_busy") == 1 and server.metric("attnd_queue_depth") == 0
    assert running.receive().status == 200


def test_a_full_queue_is_a_503_with_retry_after(start_server):
    server = start_server("--workers", 1, "--queue", 1)
    running = begin(server, LARGE)
    wait_until(lambda: server.metric("attnd_workers_busy") == 1, what="a busy worker")
    waiting = begin(server, LARGE)
    wait_until(lambda: server.metric("attnd_queue_depth") == 1, what="a full queue")
    active = server.get("/debug/requests").json["requests"]
    assert sorted(one["phase"] for one in active) == ["queued", "running"]
    refused = post(server.client(), LARGE)
    problem_of(refused, 503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert server.get("/readyz").status == 200
    running.close()
    waiting.close()


def test_a_drain_finishes_what_is_in_work(start_server):
    server = start_server()
    client = begin(server, LARGE)
    wait_until(lambda: server.metric("attnd_workers_busy") >= 1, what="a busy worker")
    server.signal(signal.SIGTERM)
    response = client.receive()
    assert response.status == 200 and response.headers["connection"] == "close"
    assert server.process.wait(20) == 0


def test_a_drain_stops_what_takes_too_long(start_server):
    server = start_server("--workers", 1, "--drain-timeout", "0.1")
    clients = [begin(server, LARGE) for _ in range(8)]
    wait_until(lambda: server.metric("attnd_queue_depth") >= 4, what="a queue")
    server.signal(signal.SIGTERM)
    last = [client.receive().status for client in clients]
    assert set(last) <= {200, 503} and 503 in last
    assert server.process.wait(20) == 0


@pytest.mark.parametrize("coding, pack", [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress),
                                          ("identity", bytes)])
def test_compressed_bodies_are_expanded(server, coding, pack):
    plain = post(server.client(), SMALL).json
    assert post(server.client(), pack(SMALL), Content_Encoding=coding).json["output"] == plain["output"]


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "gzip, identity"])
def test_other_codings_are_a_415(server, coding):
    answer = post(server.client(), SMALL, Content_Encoding=coding)
    problem_of(answer, 415, "unsupported-media-type")
    assert answer.headers["accept-encoding"] == "gzip, deflate"


def test_a_415_for_the_media_type_says_nothing_of_codings(server):
    answer = server.client().request("POST", "/attention", body=SMALL, headers={"Content-Type": "text/plain"})
    problem_of(answer, 415, "unsupported-media-type")
    assert "accept-encoding" not in answer.headers


@pytest.mark.parametrize("body", [gzip.compress(SMALL)[:-1], gzip.compress(SMALL) + b"x", gzip.compress(SMALL) * 2,
                                  b"plain", b"\x1f\x8b"])
def test_a_broken_gzip_body_is_a_400_with_its_offset(server, body):
    assert "offset" in problem_of(post(server.client(), body, Content_Encoding="gzip"), 400, "malformed-body")


def test_a_bomb_is_charged_while_it_expands(start_server):
    server = start_server("--memory", "8M")
    bomb = gzip.compress(b" " * (32 << 20))
    problem_of(post(server.client(), bomb, Content_Encoding="gzip"), 503, "overloaded")
    wait_until(lambda: server.metric("attnd_memory_used_bytes") < 1 << 20, what="the memory given back")


def test_a_body_needs_a_length_or_chunks(server):
    problem_of(server.client().request("POST", "/attention", headers=TYPE), 411, "length-required")


def test_too_large_a_body_is_a_413_declared_chunked_or_expanded(start_server):
    server = start_server("--max-body", "1K")
    declared = server.client()
    declared.send(b"POST /attention HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
    problem_of(declared.receive(), 413, "body-too-large")
    chunked = server.client()
    chunked.send(b"POST /attention HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunked.send(b"400\r\n" + b"x" * 1024 + b"\r\n" + b"1\r\nx\r\n0\r\n\r\n")
    problem_of(chunked.receive(), 413, "body-too-large")
    problem_of(post(server.client(), gzip.compress(b" " * 1025), Content_Encoding="gzip"), 413, "body-too-large")
    assert post(server.client(), SMALL).status == 200


@pytest.mark.parametrize("length", [1025, 60000, 1 << 30])
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_a_413_does_not_wait_for_the_body(start_server, length, expect):
    client = start_server("--max-body", "1K").client()
    client.send(f"POST /attention HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: {length}\r\n\r\n".encode())
    assert client._until(b"\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_held_back_is_not_asked_for_where_the_answer_is_known(server):
    client = server.client()
    client.send(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    assert client._until(b"\r\n").startswith(b"HTTP/1.1 404 ")
    assert b"Connection: close" in client._until(b"\r\n\r\n")


def test_a_client_that_sent_too_large_a_body_reads_the_413(start_server):
    server = start_server("--max-body", "1K")
    for _ in range(50):
        problem_of(post(server.client(), b" " * 60000), 413, "body-too-large")


def test_a_body_that_comes_too_slowly_is_a_408(start_server):
    server = start_server("--read-timeout", 1)
    slow = server.client()
    slow.send(b"POST /attention HTTP/1.1\r\nHost: a\r\nX-Request-Id: slow-1\r\nContent-Length: 100\r\n\r\n{")
    assert slow.receive().status == 408 and slow.is_closed()
    assert server.wait_request(id="slow-1")["status"] == 408


def test_memory_is_held(start_server):
    server = start_server("--memory", "16M")
    refused = server.client()
    refused.send(b"POST /attention HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\nExpect: 100-continue\r\n\r\n")
    response = refused.receive()
    problem_of(response, 503, "overloaded")
    assert int(response.headers["retry-after"]) >= 1
    wait_until(lambda: server.metric("attnd_memory_used_bytes") < 1 << 20, what="the memory given back")
