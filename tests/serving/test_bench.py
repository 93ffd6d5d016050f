"""bench/serve.py, tiny: what it counts of a running server."""

import pytest
from tests.serving.conftest import Server

import serve


def test_answers_of_clients_are_counted(server: Server, image: bytes) -> None:
    load = serve.closed_loop(server.port, image, 2, 0.3)
    assert set(load.statuses) == {200}
    assert load.rate() == pytest.approx(len(load.seconds) / load.wall)
    assert 0 < load.percentile(50) <= load.percentile(95)
    bad = serve.closed_loop(server.port, b"no image", 1, 0.1)
    assert set(bad.statuses) == {422}


def test_overload_and_slow_clients(server: Server, image: bytes) -> None:
    load, recovered = serve.overload(server.port, image, 300, 0.5)
    assert sum(load.statuses.values()) == 150
    assert set(load.statuses) <= {200, 503}
    assert load.without_retry == 0
    assert recovered < 5
    assert serve.slow_clients(server.port, image, 5, 0.2).statuses[200] > 0
    assert serve.memory_mb(server.port) > 10


def test_the_table_has_a_ratio() -> None:
    counts, times = ("answered", "refused", "others"), ("slowest_s", "recovered_s", "slow_p99_ms", "idle_p99_ms")
    own = dict.fromkeys((*counts, *times, "memory_growth_mb"), 1.0)
    keras = {"start_s": 8.0, "images_s": 30.0, "p95_ms": 40.0}
    found = {"tlcli serve": {**own, "start_s": 2.0, "images_s": 90.0, "p95_ms": 10.0}, "FastAPI + Keras": keras}
    text = serve.printed(found, 200)
    assert "| 3.00 x |" in text
    assert "| 0.25 x |" in text
