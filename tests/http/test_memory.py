"""Bodies made to hold much more memory than they are long: --memory bounds it, and what is left of them is nothing."""

import json

import numpy
import pytest

from conftest import SHADOW_FACTOR, wait_until
from safetensors_file import write

JSON, SAFETENSORS = "application/json", "application/vnd.safetensors"
LIMIT_MB = 96
# the program and its libraries, one worker's scratch, what a body is read into while it is refused
SLACK_MB = 48
MB = 1 << 20


def repeated(unit, megabytes):
    return ",".join([unit] * (megabytes * MB // (len(unit) + 1)))


def peak_mb(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024


def given(layers, request):
    return write({"attention_weights": numpy.ones((layers, 1, 1, 1, 1), "u1")}, {"request": json.dumps(request)})


def many_tensors(count):
    return write({f"params.t{i}": numpy.zeros((0,), "<f4") for i in range(count)}, {})


BODIES = {
    "empty arrays": (JSON, lambda: '{"query":[[1]],"weights":[%s]}' % repeated("[]", 20), {422}),
    "empty objects": (JSON, lambda: '{"query":[[1]],"weights":[%s]}' % repeated("{}", 20), {422}),
    "empty objects, not too many": (JSON, lambda: '{"query":[[1]],"weights":[%s]}' % repeated("{}", 1), {422, 503}),
    "members of a window": (
        JSON,
        lambda: '{"query":[[1]],"window":{%s}}' % ",".join(f'"{i:x}":0' for i in range(2000000)),
        {422},
    ),
    "axes": (JSON, lambda: '{"query":{"shape":[%s],"data":[1]}}' % repeated("1", 20), {422}),
    "data before dtypes": (
        JSON,
        lambda: '{"query":{"shape":[1,10],"data":[%s],"dtype":"float16"},"dtype":"float64"}' % repeated("1", 20),
        {422, 503},
    ),
    "layers": (SAFETENSORS, lambda: given(1000000, {}), {422}),
    "layers, one of them asked for": (SAFETENSORS, lambda: given(1000000, {"layers": [3]}), {422}),
    "heads": (
        SAFETENSORS,
        lambda: write({"query": numpy.ones((1, 8 * MB), "u1")}, {"request": '{"num_heads":%d}' % (8 * MB)}),
        {503},
    ),
    "bytes that become doubles": (
        SAFETENSORS,
        lambda: write({"query": numpy.ones((1, 16 * MB), "u1")}, {"request": '{"dtype":"float64"}'}),
        {503},
    ),
    "tensors of nothing": (SAFETENSORS, lambda: many_tensors(200000), {422, 503}),
    "a large answer": (
        SAFETENSORS,
        lambda: write({"query": numpy.ones((4000, 8), "u1")}, {"request": '{"num_heads":4,"weights":"per_head"}'}),
        {503},
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_hostile_bodies_hold_no_more_than_memory_allows(start_server, name):
    media_type, body, statuses = BODIES[name]
    server = start_server("--memory", f"{LIMIT_MB}M", "--workers", "1")
    answer = server.request("POST", "/attention", body(), {"Content-Type": media_type})
    assert answer.status in statuses, answer.body[:500]
    assert peak_mb(server) < (LIMIT_MB + SLACK_MB) * SHADOW_FACTOR
    assert server.attention({"query": [[1, 2]]}).json()["output"] == [[1, 2]]
    # /metrics counts itself: its connection, and no more
    wait_until(lambda: server.metric("attnd_memory_used_bytes") < MB, what="memory given back")
