"""tlcli serve beside plain FastAPI with Keras, the same network on this machine; overload and slow clients.

python bench/serve.py [--backbone mobilenet_v2] [--weights random] [--seconds 5] [--overload 5] [--slow 200]

Speed: seconds to the first answer, images/s of 8 clients that ask one after another, the 95th percentile of 1 client.
Overload: requests at three times that rate, whether answers come or not; which are answered, the slowest answer, memory
before and after, and how soon after the end a request is answered again. Slow clients: sockets that send one byte of a
request a second, while one client asks. The clients' process shares the cores with the server. Writes
bench/results/serve.json and prints a Markdown table. All traffic stays on this machine.
"""

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import numpy as np

from images import make_tree
from measure import PLAIN, TLCLI, introduce, note, save, settings, tlcli

LIMIT = 20.0
"""Seconds that a client waits for an answer."""
CLIENTS = 8


@dataclass
class Load:
    """What clients got."""

    statuses: Counter[int] = field(default_factory=Counter)
    """0: no answer."""
    seconds: list[float] = field(default_factory=list)
    """Of each answer with status 200."""
    without_retry: int = 0
    """Answers 503 that do not say when to come again."""
    wall: float = 0.0

    def rate(self) -> float:
        """Images a second."""
        return self.statuses[200] / self.wall

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return float(np.percentile(self.seconds, share)) * 1000 if self.seconds else float("nan")


def ask(connection: http.client.HTTPConnection, image: bytes, load: Load) -> int:
    """One request; its status."""
    began = monotonic()
    try:
        connection.request("POST", "/predict", image)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        load.statuses[0] += 1
        return 0
    load.statuses[answer.status] += 1
    if answer.status == 200:
        load.seconds.append(monotonic() - began)
    load.without_retry += answer.status == 503 and answer.getheader("retry-after") is None
    return answer.status


def closed_loop(port: int, image: bytes, clients: int, seconds: float) -> Load:
    """Clients that ask again as soon as they have an answer."""
    load, end = Load(), monotonic() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        while monotonic() < end:
            ask(connection, image, load)
        connection.close()

    began = monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.wall = monotonic() - began
    return load


def overload(port: int, image: bytes, rate: float, seconds: float) -> tuple[Load, float]:
    """Requests at a fixed rate, each in a thread of its own; and the seconds until one is answered afterwards."""
    load, idle, began = Load(), list[http.client.HTTPConnection](), monotonic()

    def request() -> None:
        try:
            connection = idle.pop()
        except IndexError:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        ask(connection, image, load)
        idle.append(connection)

    with ThreadPoolExecutor(200) as pool:
        for number in range(int(rate * seconds)):
            sleep(max(0.0, began + number / rate - monotonic()))
            pool.submit(request)
        ended = monotonic()
    load.wall = monotonic() - began
    for one in idle:
        one.close()
    recovered, connection = Load(), http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    while ask(connection, image, recovered) != 200 and monotonic() - ended < LIMIT:
        sleep(0.05)
    connection.close()
    return load, monotonic() - ended


def slow_clients(port: int, image: bytes, count: int, seconds: float) -> Load:
    """What one client gets while ``count`` sockets send a head byte by byte."""
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nX-Slow: " + b"a" * 100
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=LIMIT) for _ in range(count)]
    is_over = threading.Event()

    def drip() -> None:
        for byte in head:
            for one in sockets:
                with suppress(OSError):  # given up by the server
                    one.send(bytes([byte]))
            if is_over.wait(1):
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    load = closed_loop(port, image, 1, seconds)
    is_over.set()
    dripping.join()
    for one in sockets:
        one.close()
    return load


def memory_mb(port: int) -> float:
    """Of the server, as its metrics have it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    values = [line.split()[1] for line in text.splitlines() if line.startswith("process_resident_memory_bytes ")]
    return float(values[0]) / 1e6 if values else float("nan")


@contextmanager
def started(command: Sequence[str], folder: Path, port: int, image: bytes) -> Iterator[float]:
    """A server that answers, and the seconds from its start to its first answer; ended afterwards."""
    environment = {**os.environ, "TLCLI_CACHE": str(folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    began = monotonic()
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        connection, end = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT), monotonic() + 120
        while ask(connection, image, Load()) != 200:
            if process.poll() is not None or monotonic() > end:
                raise SystemExit((folder / "server.log").read_text()[-3000:])
            sleep(0.02)
        seconds = monotonic() - began
        connection.close()
        closed_loop(port, image, CLIENTS, 1)  # warm
        yield seconds
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def measured(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All figures, by server."""
    image = next((folder / "my_images").rglob("*.jpg")).read_bytes()
    port, found = free_port(), dict[str, dict[str, float]]()
    keras = [str(PLAIN / "serve.py"), options.backbone, str(port), "--weights", options.weights]
    commands = {"FastAPI + Keras": [sys.executable, *keras], "tlcli serve": [*TLCLI, "serve", "--port", str(port)]}
    for name, command in commands.items():
        note(name)
        with started(command, folder, port, image) as start:
            alone, many = (closed_loop(port, image, count, options.seconds) for count in (1, CLIENTS))
            figures = {
                "start_s": start,
                "images_s": many.rate(),
                "p50_ms": alone.percentile(50),
                "p95_ms": alone.percentile(95),
            }
            if name == "tlcli serve":
                before = memory_mb(port)
                load, recovered = overload(port, image, 3 * many.rate(), options.overload)
                slow = slow_clients(port, image, options.slow, options.seconds)
                others = sum(count for status, count in load.statuses.items() if status not in (200, 503))
                figures |= {
                    "answered": load.statuses[200], "refused": load.statuses[503], "others": others,
                    "without_retry_after": load.without_retry, "slowest_s": max(load.seconds, default=0.0),
                    "recovered_s": recovered, "memory_growth_mb": memory_mb(port) - before,
                    "idle_p99_ms": alone.percentile(99), "slow_p99_ms": slow.percentile(99),
                }  # fmt: skip
            found[name] = figures
    return found


def printed(found: dict[str, dict[str, float]], slow: int) -> str:
    """The table."""
    keras, own = found["FastAPI + Keras"], found["tlcli serve"]

    def both(title: str, key: str) -> tuple[str, str, str, str]:
        return title, f"{own[key]:.1f}", f"{keras[key]:.1f}", f"{own[key] / keras[key]:.2f} x"

    counts = ", ".join(f"{own[key]:.0f}" for key in ("answered", "refused", "others"))
    rows = (
        both("from start to first answer, s", "start_s"),
        both(f"images/s, {CLIENTS} clients", "images_s"),
        both("p95, 1 client, ms", "p95_ms"),
        ("3 x overload: answered, 503, others", counts, "", ""),
        ("slowest answer, recovered after, s", f"{own['slowest_s']:.2f}, {own['recovered_s']:.2f}", "", ""),
        ("growth of memory, MB", f"{own['memory_growth_mb']:.1f}", "", ""),
        (f"p99 with {slow} slow sockets, idle, ms", f"{own['slow_p99_ms']:.1f}, {own['idle_p99_ms']:.1f}", "", ""),
    )
    lines = ["| what | tlcli serve | FastAPI + Keras | ratio |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--overload", type=float, default=5, help="seconds")
    parser.add_argument("--slow", type=int, default=200, help="sockets")
    options = parser.parse_args()
    introduce()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tree(folder / "my_images", {"": 40}, ["dark", "light"])
        quick = settings(
            backbone__name=options.backbone, backbone__weights=options.weights, backbone__precision="f32",
            evaluate__figures="false", evaluate__report="false", evaluate__cross_validation="null",
        )  # fmt: skip
        note("tlcli train")
        tlcli(folder, folder / "cache", "train", "--config", "my_images", *quick)
        found = measured(folder, options)
    print(printed(found, options.slow))
    save("serve", settings=json.loads(json.dumps(vars(options))), servers=found)


if __name__ == "__main__":
    main()
