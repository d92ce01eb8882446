"""The server as such: framing, limits, time limits, crowds, keys, drain. Raw sockets, no sleeps."""
import gzip
import signal
import socket
import ssl
import subprocess

import pytest

from client import Client
from conftest import ATTND, wait_until

PROBLEM = "urn:attnd:problem:"


def problem_of(response, status, kind):
    assert (response.status, response.headers["content-type"]) == (status, "application/problem+json")
    problem = response.json
    assert problem["type"] == PROBLEM + kind and problem["status"] == status
    assert problem["title"] and problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def raw(server, text):
    client = server.client()
    client.send(text.encode("latin-1"))
    return client, client.receive()


def test_health_and_version_answer_with_the_headers_of_every_response(server):
    for path, body in [("/livez", {"live": True}), ("/readyz", {"ready": True, "reasons": []})]:
        response = server.get(path)
        assert response.status == 200 and response.json == body
        assert response.headers["x-content-type-options"] == "nosniff"
        assert len(response.headers["x-request-id"]) >= 16
        assert "compute;dur=" in response.headers["server-timing"]
    assert server.get("/version").json["name"] == "attnd"
    assert server.get("/openapi.json").json["openapi"].startswith("3.1")
    assert server.get("/openapi.yaml").text.startswith("openapi: ")


@pytest.mark.parametrize("name, text", [
    ("two lengths", "Content-Length: 3\r\nContent-Length: 3\r\n"),
    ("different lengths", "Content-Length: 3\r\nContent-Length: 4\r\n"),
    ("length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
    ("stacked codings", "Transfer-Encoding: gzip, chunked\r\n"),
    ("identity", "Transfer-Encoding: identity\r\n"),
    ("a space before the colon", "Content-Length : 3\r\n"),
    ("two hosts", "Host: other\r\n"),
    ("a signed length", "Content-Length: +3\r\n"),
])
def test_ambiguous_framing_is_a_400_and_ends_the_connection(server, name, text):
    client, response = raw(server, f"POST /livez HTTP/1.1\r\nHost: a\r\n{text}\r\nabcGET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    assert response.status == 400
    assert client.is_closed()


def test_a_nul_in_the_path_does_not_cut_it(server):
    problem_of(server.get("/livez%00"), 404, "not-found")


def test_requests_follow_each_other_on_one_connection(server):
    client = server.client()
    for _ in range(50):
        assert client.request("GET", "/livez").status == 200
    client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
    assert [client.receive().status for _ in range(10)] == [200] * 10


def test_http_1_0_is_answered_and_closed(server):
    client, response = raw(server, "GET /livez HTTP/1.0\r\n\r\n")
    assert response.status == 200 and client.is_closed()


def test_head_goes_wherever_get_does(server):
    client = server.client()
    for path in ("/livez", "/metrics", "/openapi.yaml", "/version"):
        response = client.request("HEAD", path)
        assert response.status == 200 and int(response.headers["content-length"]) > 0
    assert client.request("GET", "/livez").status == 200


@pytest.mark.parametrize("path, kind", [
    ("/metrics", "text/plain"), ("/version", "application/json"), ("/openapi.yaml", "application/yaml"),
    ("/openapi.json", "application/json"), ("/debug/requests", "application/json"), ("/models", "application/json")])
def test_what_cannot_be_made_is_a_406_on_every_route_but_health(server, path, kind):
    assert kind in problem_of(server.get(path, Accept="image/png, */*;q=0"), 406, "not-acceptable")["detail"]
    for accept in (kind, "image/png, */*;q=0.1"):
        assert server.get(path, Accept=accept).headers["content-type"].startswith(kind)
    for health in ("/livez", "/readyz"):
        assert server.get(health, Accept="image/png").status == 200, "a probe asks for the status"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "BREW"])
def test_other_methods_are_a_405_that_lists_the_right_ones(server, method):
    client = server.client()
    response = client.request(method, "/livez", body=b"xyz")
    problem_of(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.request("GET", "/livez").status == 200, "the body must not be taken for a request"


def test_options_lists_the_methods(server):
    response = server.client().request("OPTIONS", "/livez")
    assert (response.status, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


def test_unknown_paths_parameters_and_expectations_say_so(server):
    problem_of(server.get("/nothing"), 404, "not-found")
    assert problem_of(server.get("/livez?colour=red"), 422, "invalid-request")["parameter"] == "colour"
    problem_of(server.get("/livez", Expect="the-unexpected"), 417, "expectation-failed")


@pytest.mark.parametrize("value, status", [("1000", 200), ("86400000", 200), ("0", 400), ("86400001", 400), ("x", 400)])
def test_the_timeout_header_is_held_to_its_range(server, value, status):
    response = server.get("/livez", Request_Timeout_Ms=value)
    assert response.status == status
    if status == 400:
        problem_of(response, 400, "bad-header")


def test_request_ids_are_taken_where_they_can_be(server):
    assert server.get("/livez", X_Request_Id="a.b_C-9").headers["x-request-id"] == "a.b_C-9"
    assert server.get("/livez", X_Request_Id="no good").headers["x-request-id"] != "no good"
    assert server.get("/livez", X_Request_Id="x" * 129).headers["x-request-id"] != "x" * 129


@pytest.mark.parametrize("field", ["X-Request-Id: plain-1", "Content-Encoding: identity", "Request-Timeout-Ms: 9000",
                                   "Expect: 100-continue", "Accept: application/json", "If-None-Match: *"])
def test_blanks_behind_a_value_are_none_of_it(server, field):
    _, response = raw(server, f"GET /version HTTP/1.1\r\nHost: a\r\n{field} \t \r\n\r\n")
    assert response.status == 200
    assert field != "X-Request-Id: plain-1" or response.headers["x-request-id"] == "plain-1"
    body = '{"query": [[1]]}'
    _, response = raw(server, "POST /attention HTTP/1.1\r\nHost: a\r\nContent-Type: application/json \r\n"
                              f"{field}\t\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    assert response.status == 200, response.body


def test_each_request_is_one_log_line(server):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    server.get("/nothing", X_Request_Id="logged-1", traceparent=trace)
    line = server.wait_request(id="logged-1")
    assert (line["method"], line["path"], line["route"], line["status"]) == ("GET", "/nothing", "none", 404)
    assert line["traceparent"] == trace and line["problem"] == PROBLEM + "not-found"
    assert line["total_ms"] >= 0 and line["client"].startswith("127.0.0.1:") and line["bytes_out"] > 0


def test_requests_are_counted_by_route_and_status(server):
    name = 'attnd_requests_total{route="version",status="200"}'
    before = server.metric(name)
    client = server.client()
    for _ in range(5):
        client.request("GET", "/version")
    wait_until(lambda: server.metric(name) == before + 5, what="the counter")
    assert server.metric("attnd_connections") >= 1


@pytest.mark.parametrize("clients", [1, 100, 128, 256, 512])
def test_no_number_of_busy_clients_stalls_the_server(server, clients):
    """All are busy at once; the library's own loop answers some fifty requests a second at 128."""
    crowd = [server.client(timeout=5) for _ in range(clients)]
    for _ in range(10):
        for client in crowd:
            client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        for client in crowd:
            assert client.receive().status == 200
    for client in crowd:
        client.close()


def test_connections_past_the_limit_get_a_503_at_once(start_server):
    server = start_server("--max-connections", 4)
    held = [server.client() for _ in range(4)]
    for client in held:
        assert client.request("GET", "/livez").status == 200
    extra = server.client()
    response = extra.receive()
    problem_of(response, 503, "overloaded")
    assert int(response.headers["retry-after"]) >= 1
    assert extra.is_closed()
    held[0].close()

    def is_served_again():
        try:
            return server.get("/livez").status == 200
        except ConnectionError:
            return False
    wait_until(is_served_again, what="a free place")


def test_the_admin_listener_answers_when_the_others_are_full(start_server):
    server = start_server("--max-connections", 1, "--admin-listen", "127.0.0.1:0")
    held = server.client()
    assert held.request("GET", "/livez").status == 200
    host, port = server.address("admin listening on").removeprefix("http://").split(":")
    admin = Client(host, int(port))
    for path in ("/livez", "/readyz", "/metrics", "/version"):
        assert admin.request("GET", path).status == 200
    assert admin.request("GET", "/openapi.yaml").status == 404


def test_the_admin_listener_has_its_own_limit(start_server):
    server = start_server("--admin-listen", "127.0.0.1:0")
    host, port = server.address("admin listening on").removeprefix("http://").split(":")
    held = [Client(host, int(port)) for _ in range(64)]
    assert {client.request("GET", "/livez").status for client in held} == {200}
    problem_of(Client(host, int(port)).receive(), 503, "overloaded")
    assert held[0].request("GET", "/livez").status == 200 and server.get("/livez").status == 200


def test_a_client_that_dribbles_its_request_is_dropped_with_408(start_server):
    slow = start_server("--read-timeout", 1).client()
    slow.send(b"GET /livez HTT")
    problem_of(slow.receive(), 408, "request-timeout")
    assert slow.is_closed()


@pytest.mark.parametrize("text", ["POST /attention HTTP/1.1\r\nHost: a\r\nX-Request-Id: {}\r\nContent-Length: 9\r\n\r\n{{",
                                  "GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-Id: {}\r\n\r\n", "GET /liv"])
def test_a_client_that_ends_with_its_last_byte_does_not_keep_its_connection(start_server, text):
    server = start_server()
    for i in range(20):
        client = server.client()
        client.send(text.format(f"end-{i}").encode())
        client.close()
    wait_until(lambda: server.metric("attnd_connections") == 1, seconds=5, what="the connections closed")
    lines = [line for line in server.requests() if line["id"].startswith("end-")]
    assert {line["status"] for line in lines} <= {499, 200}


def test_requests_before_a_half_close_are_answered(server):
    client = server.client()
    client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
    client.socket.shutdown(socket.SHUT_WR)
    assert [client.receive().status for _ in range(20)] == [200] * 20


def test_a_client_that_never_sends_a_byte_is_dropped(start_server):
    server = start_server("--idle-timeout", 1)
    silent, once = server.client(), server.client()
    assert once.request("GET", "/livez").status == 200
    assert silent.is_closed() and once.is_closed()


def test_a_client_that_takes_nothing_is_dropped(start_server):
    server = start_server("--write-timeout", 1)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect((server.host, server.port))
    deaf.setblocking(False)
    try:
        for _ in range(20000):
            deaf.send(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")
    except OSError:
        pass
    wait_until(lambda: server.metric("attnd_connections") == 1, what="the end of the deaf client")
    deaf.close()


def test_unix_sockets_are_served_and_removed(start_server, tmp_path):
    path = tmp_path / "attnd.sock"
    server = start_server("--listen", f"unix:{path}")
    assert Client(str(path), None, family=socket.AF_UNIX).request("GET", "/livez").status == 200
    assert server.stop() == 0
    assert not path.exists()


def test_cors_is_for_the_origins_that_were_named(start_server):
    server = start_server("--cors-origin", "https://good.example")
    good = server.get("/livez", Origin="https://good.example")
    assert good.headers["access-control-allow-origin"] == "https://good.example" and good.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in server.get("/livez", Origin="https://bad.example").headers
    preflight = server.client().request("OPTIONS", "/livez", headers={
        "Origin": "https://good.example", "Access-Control-Request-Method": "GET"})
    assert preflight.status == 204 and "GET" in preflight.headers["access-control-allow-methods"]


def test_answers_are_compressed_for_clients_that_take_it(server):
    plain = server.get("/openapi.json")
    packed = server.get("/openapi.json", Accept_Encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body) // 2
    assert "content-encoding" not in server.get("/openapi.json", Accept_Encoding="gzip;q=0").headers


def test_keys_and_their_reload(start_server, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("first-key-123 infer alice\nadmin-key-123 admin\nrated-key-123 admin rate=1/s\n")
    server = start_server("--api-keys", keys)
    assert server.get("/livez").status == 200
    response = server.get("/debug/requests")
    problem_of(response, 401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")
    problem_of(server.get("/debug/requests", X_Api_Key="wrong-key-123"), 401, "unauthorized")
    problem_of(server.get("/debug/requests", Authorization="Bearer first-key-123"), 403, "forbidden")
    assert server.get("/debug/requests", Authorization="Bearer admin-key-123").json == {"requests": []}
    assert server.get("/debug/requests", X_Api_Key="rated-key-123").status == 200
    limited = server.get("/debug/requests", X_Api_Key="rated-key-123")
    problem_of(limited, 429, "rate-limited")
    assert int(limited.headers["retry-after"]) >= 1
    keys.write_text("fresh-key-123 admin\n")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.get("/debug/requests", X_Api_Key="fresh-key-123").status == 200, what="the reload")
    assert server.get("/debug/requests", X_Api_Key="admin-key-123").status == 401


@pytest.mark.parametrize("flag", ["--api-keys", "--models", "--tls-cert"])
def test_a_file_that_is_not_there_is_a_bad_value(flag, tmp_path):
    missing = str(tmp_path / "missing")
    more = ["--tls-key", missing] if flag == "--tls-cert" else []
    ended = subprocess.run([str(ATTND), "--listen", "127.0.0.1:0", flag, missing, *more], capture_output=True,
                           text=True, timeout=20)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and missing in ended.stderr


def make_certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", f"/CN={name}", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)


def test_tls_serves_1_2_and_1_3_and_reloads_its_certificate(start_server, tmp_path):
    make_certificate(tmp_path, "one")
    server = start_server("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem")

    def connect(version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        return server.client(wrap=context.wrap_socket)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert connect(version).request("GET", "/livez").status == 200
    first = connect(ssl.TLSVersion.TLSv1_3).socket.getpeercert(True)
    make_certificate(tmp_path, "two")
    server.signal(signal.SIGHUP)
    wait_until(lambda: connect(ssl.TLSVersion.TLSv1_3).socket.getpeercert(True) != first, what="the new certificate")


def test_a_drain_says_so_then_refuses_then_ends(start_server):
    server = start_server("--shutdown-delay", 1)
    held = server.client()
    assert "connection" not in held.request("GET", "/livez").headers
    server.signal(signal.SIGTERM)
    wait_until(lambda: server.get("/readyz").status == 503, what="not ready")
    response = server.get("/readyz")
    assert response.json == {"ready": False, "reasons": ["draining"]}
    assert response.headers["connection"] == "close"
    assert server.process.wait(20) == 0
    with pytest.raises(ConnectionRefusedError):
        server.client()


def test_a_second_signal_ends_it_at_once(start_server):
    server = start_server("--shutdown-delay", 600)
    server.signal(signal.SIGTERM)
    wait_until(lambda: server.get("/readyz").status == 503, what="draining")
    server.signal(signal.SIGINT)
    assert server.process.wait(20) == 1
