"""Starts the server for the tests and talks to it with the standard library alone."""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("ATTND", str(ROOT / "build" / "attnd"))


class Answer:
    """A response, read to its end."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class Service:
    """A running server on a port of its own choice."""

    def __init__(self, log_path, *flags):
        self.log_path = log_path
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "--listen", "127.0.0.1:0", *flags], stdout=log, stderr=subprocess.STDOUT, cwd=log_path.parent
            )
        self.port = self._wait_for_port()
        self.wait_until_ready()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def _wait_for_port(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = re.search(r"127\.0\.0\.1:(\d+)", self.log())
            if found and found[1] != "0":
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError("the server did not start:\n" + self.log())

    def wait_until_ready(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.request("GET", "/readyz").status == 200:
                return
            time.sleep(0.01)
        raise RuntimeError("the server did not get ready:\n" + self.log())

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def attention(self, request, **headers):
        """POSTs a request as JSON; header names are given with underscores."""
        sent = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.request("POST", "/attention", json.dumps(request), sent)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory):
    """A function that starts a server with flags of its own; all are stopped at the end."""
    started = []

    def start(*flags):
        service = Service(tmp_path_factory.mktemp("attnd") / "log", *flags)
        started.append(service)
        return service

    yield start
    for service in started:
        service.stop()


@pytest.fixture(scope="session")
def server(start_server, tmp_path_factory):
    """The server that most tests share: it must still answer when they are done."""
    service = start_server("--models", str(tmp_path_factory.mktemp("models")))
    yield service
    assert service.process.poll() is None, "the server died:\n" + service.log()
