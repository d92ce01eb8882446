"""The README's curl commands, run to the letter: each `sh` block that starts with curl, in order, against a server whose
port curl is told by its configuration file (connect-to). A `json` block behind one is what it must answer."""
import json
import math
import os
import pathlib
import re
import subprocess

import pytest

README = pathlib.Path(__file__).parents[2] / "README.md"
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


def run(command, port, home):
    (home / ".curlrc").write_text(f'connect-to = "127.0.0.1:8080:127.0.0.1:{port}"\n')
    done = subprocess.run(["sh", "-c", command], cwd=README.parent, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "CURL_HOME": str(home), "HOME": str(home)}, check=True)
    return json.loads(done.stdout)


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize("command, expected", [c for c in COMMANDS if "models/" not in c[0]])
def test_command_of_the_readme(server, tmp_path, command, expected):
    answer = run(command, server.port, tmp_path)
    if expected:
        assert_like(json.loads(expected), answer)
    else:
        assert answer["type"] == "urn:attnd:problem:invalid-request" and answer["pointer"] == "/num_heads"
