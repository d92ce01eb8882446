"""The README's curl commands, run to the letter: each `sh` block that starts with curl, in order, against a server whose
port curl is told by its configuration file (connect-to). A `json` block behind one is what it must answer. Commands
that name models/ get a server with what `make model` puts there, whose answer is held to transformers'; those that name
a model one with what `make models` puts there."""
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess

import numpy
import pytest

from conftest import ATTND, Server, made, wait_until
from test_models_transformer import put_tar, tar

TOP = pathlib.Path(__file__).parents[2]
README = TOP / "README.md"
MODEL_FILES = ("minilm-layer0.safetensors", "minilm-example.json")
BLOCK = re.compile(r"```sh\n(curl .*?)```(?:\s*```json\n(.*?)```)?", re.DOTALL)
COMMANDS = [(m.group(1).strip(), m.group(2)) for m in BLOCK.finditer(README.read_text())]


def assert_like(expected, found, where=""):
    """Equal structure and numbers; of timings only the names must agree."""
    if where.endswith("/timings_ms"):
        assert expected.keys() == found.keys(), where
    elif isinstance(expected, dict):
        assert expected.keys() == found.keys(), where
        for key, value in expected.items():
            assert_like(value, found[key], f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(expected) == len(found), where
        for i, (a, b) in enumerate(zip(expected, found)):
            assert_like(a, b, f"{where}/{i}")
    elif isinstance(expected, float):
        assert math.isclose(expected, found, rel_tol=1e-6), f"{where}: {expected} {found}"
    else:
        assert expected == found, where


def run(command, port, home, folder=TOP):
    (home / ".curlrc").write_text(f'connect-to = "127.0.0.1:8080:127.0.0.1:{port}"\n')
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "CURL_HOME": str(home), "HOME": str(home)}, check=True)
    return json.loads(done.stdout)


def command_with(text):
    return next(command for command, _ in COMMANDS if text in command)


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command, expected", [c for c in COMMANDS if "models/" not in c[0]])
def test_command_of_the_readme(request, tmp_path, command, expected):
    server = request.getfixturevalue("real_models" if '"model":' in command else "server")
    answer = run(command, server.port, tmp_path)
    if expected:
        assert_like(json.loads(expected), answer)
    else:
        assert answer["type"] == "urn:attnd:problem:invalid-request" and answer["pointer"] == "/num_heads"


def test_the_readme_lists_every_family(server):
    """A family that is not known is refused with the known ones."""
    answer = put_tar(server, "m", tar({"config.json": b'{"model_type": "word2vec"}', "model.safetensors": b""}))
    known = re.search(r"known are ([^;\n]*)", answer.json()["detail"]).group(1).split(", ")
    table = README.read_text().split("`model_type` in `config.json` |", 1)[1].split("| PyTorch", 1)[0]
    listed = [name for row in table.splitlines() for name in re.findall("`([^`]+)`", row.removesuffix("|").split("|")[-1])]
    assert len(known) > 20 and sorted(listed) == sorted(known)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with models/ as `make model` leaves it in a checkout, and a server started there."""
    paths = made("model", *MODEL_FILES)
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "models").mkdir()
    for path in paths:
        shutil.copy(path, folder / "models")
    server = Server(["--models", str(folder / "models")])
    yield folder, server.port
    server.finish()


def test_the_real_layer_of_the_readme_gives_what_transformers_gives(checkout, tmp_path):
    folder, port = checkout
    answer = run(command_with("@models/minilm-example.json"), port, tmp_path, folder)
    golden = json.loads((TOP / "tests" / "golden" / "data" / "minilm_http.json").read_text())
    taken = numpy.array(golden["request"]["key_padding_mask"])  # what padding as a query gives means nothing

    def assert_close(found, expected):  # (N, L, ...)
        numpy.testing.assert_allclose(numpy.array(found)[taken], numpy.array(expected)[taken], rtol=1e-5, atol=1e-5)

    assert_close(answer["output"], golden["expected"]["output"])
    assert_close(answer["weights"]["average"], golden["expected"]["weights"]["average"])
    for head in range(12):
        assert_close(*([item[head] for item in weights["per_head"]]
                       for weights in (answer["weights"], golden["expected"]["weights"])))


def test_the_upload_of_the_readme_makes_a_model(checkout, tmp_path):
    folder, port = checkout
    shutil.copy(folder / "models" / MODEL_FILES[0], folder / "layer.safetensors")
    answer = run(command_with("layer.safetensors"), port, tmp_path, folder)
    assert (answer["id"], answer["status"]) == ("my-layer", "ready"), answer


def test_the_server_of_make_run_takes_uploads_in_a_fresh_checkout(checkout, tmp_path):
    """There is no models/ before: git has none."""
    log = tmp_path / "log"
    command = ["make", "-s", "-f", TOP / "Makefile", "-o", "all", f"BUILD={ATTND.parent}", "run"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "ATTND"))}
    with log.open("w") as to:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=to, start_new_session=True,
                                   env={**clean, "ATTND_LISTEN": "127.0.0.1:0"})
    try:
        port = wait_until(lambda: re.search(r"listening on http://127.0.0.1:(\d+)", log.read_text()), what="start")[1]
        shutil.copy(checkout[0] / "models" / MODEL_FILES[0], tmp_path / "layer.safetensors")
        assert run(command_with("-T layer.safetensors"), port, tmp_path, tmp_path)["id"] == "my-layer"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
