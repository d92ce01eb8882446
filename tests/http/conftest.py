"""The `server` fixture starts build/attnd on a free port; `start_server` starts more, with flags of the test's own."""
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

import ask
from client import Client

TOP = pathlib.Path(__file__).resolve().parents[2]
ATTND = pathlib.Path(os.environ.get("ATTND", TOP / "build" / "attnd"))
# What sanitizers print, when ATTND names a server that was built with one (make asan, make tsan).
SANITIZERS = re.compile(r"Sanitizer|runtime error:")
# Such a server keeps up to four bytes of notes on each byte it writes.
SHADOW_FACTOR = 5 if "ATTND" in os.environ else 1


def wait_until(condition, seconds=20, what="the condition"):
    """Polls a condition, with a deadline; the only waiting that tests do."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"{what} did not come true within {seconds} s")


class Server:
    """A running attnd: its address, its log, its end."""

    def __init__(self, arguments, environment=None):
        command = [str(ATTND), "--listen", "127.0.0.1:0", "--log-format", "json", *arguments]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ATTND")}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**clean, **(environment or {})})
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = wait_until(self._listening, what="the line that says where it listens")
        self.host, self.port = "127.0.0.1", int(re.search(r"127\.0\.0\.1:(\d+)", line).group(1))

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def _listening(self):
        if self.process.poll() is not None:
            raise AssertionError("attnd ended: " + "".join(self.lines))
        return next((line for line in list(self.lines) if "listening on" in line and "admin" not in line), None)

    def address(self, what):
        """The address in the log line that begins with `what`."""
        line = wait_until(lambda: next((one for one in list(self.lines) if what in one), None), what=what)
        return json.loads(line)["message"].split(" ")[-1]

    def request(self, method, path, body=None, headers=None, timeout=60):
        return ask.request(self, method, path, body, headers, timeout)

    def attention(self, request, **headers):
        return ask.attention(self, request, **headers)

    def client(self, **options):
        return Client(self.host, self.port, **options)

    def get(self, path, **headers):
        return self.client().request("GET", path, headers=headers)

    def requests(self, **wanted):
        """Log lines of requests whose members are as wanted."""
        lines = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [line for line in lines if line["message"] == "request" and
                all(line.get(name) == value for name, value in wanted.items())]

    def wait_request(self, **wanted):
        return wait_until(lambda: self.requests(**wanted), what=f"a log line with {wanted}")[0]

    def metric(self, name):
        text = self.get("/metrics").text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found.group(1)) if found else 0.0

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=30):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        self.process.stderr.close()

    def finish(self):
        """Ends the server as an operator would, so that leaks are looked for too; its sanitizers must have been silent."""
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        self.kill()
        assert not SANITIZERS.search("".join(self.lines)), "".join(self.lines)


def made(step, *names):
    """What `make STEP` has put into models/: tests do not download."""
    paths = [TOP / "models" / name for name in names]
    missing = [str(path.relative_to(TOP)) for path in paths if not path.exists()]
    if missing:
        pytest.fail(f"{', '.join(missing)} missing: run make {step} first", pytrace=False)
    return paths


@pytest.fixture(scope="session")
def real_models():
    """A server with the two models that `make models` puts into models/. Under sanitizers they would take many minutes,
    and the tiny models of every family go through the same code."""
    if "ATTND" in os.environ:
        pytest.skip("real models do not run under sanitizers")
    names = ("all-MiniLM-L6-v2", "SmolLM2-135M")
    made("models", *(f"{name}/config.json" for name in names))
    named = [argument for name in names for argument in ("--model", f"{name}={TOP / 'models' / name}")]
    server = Server(named)
    wait_until(lambda: server.get("/readyz").status == 200, what="both models")
    yield server
    server.finish()


@pytest.fixture
def start_server(tmp_path):
    running = []

    def start(*arguments, environment=None):
        models = tmp_path / "models"
        models.mkdir(exist_ok=True)
        if "--models" not in arguments:
            arguments = ("--models", str(models), *arguments)
        running.append(Server([str(argument) for argument in arguments], environment))
        return running[-1]

    yield start
    for one in running:
        one.finish()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server with default settings and an empty models directory, for all tests that do not change it."""
    one = Server(["--models", str(tmp_path_factory.mktemp("models"))])
    yield one
    one.finish()
