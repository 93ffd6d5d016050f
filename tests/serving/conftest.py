"""A tiny trained model, and a server process with it for the tests of each module."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from tests.network_fixtures import SIDE, convolutional, drawn, write_json


@dataclass
class Server:
    """A running ``tlcli serve``."""

    process: "subprocess.Popen[str]"
    url: str
    folder: Path
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def port(self) -> int:
        """That it listens on."""
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **given: Any) -> requests.Response:
        """Of a path."""
        return self.session.get(self.url + path, timeout=20, **given)

    def post(self, path: str, data: object = b"", **given: Any) -> requests.Response:
        """To a path: bytes as they are, anything else as JSON."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return self.session.post(self.url + path, data=body, timeout=20, **given)

    def metric(self, name: str) -> float:
        """The value of a line of the metrics, which is named with its labels."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)


WITH_LIMITS = """
import json, sys
from pathlib import Path
from tlcli.serving.limits import Limits
from tlcli.workflows.serve import Address, serve

def started(serving):
    print(json.dumps({"url": serving.url}, indent=2), flush=True)

serve(Path("runs"), address=Address(port=0), limits=Limits(**json.loads(sys.argv[1])), started=started)
"""


@contextmanager
def serving(folder: Path, *arguments: object, limits: dict[str, float] | None = None) -> Iterator[Server]:
    """Starts a server in a folder that has runs, on a free port, with the cache of these runs; by the command line, or
    with other limits by the workflow."""
    environment = {**os.environ, "TLCLI_CACHE": str(folder / "cache"), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tlcli", "serve", "--port", "0", "--json", *map(str, arguments)]
    if limits is not None:
        command = [sys.executable, "-c", WITH_LIMITS, json.dumps(limits)]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1
        )
    assert process.stdout is not None
    text = ""
    try:
        while not text.endswith("\n}\n"):  # the document is one object
            line = process.stdout.readline()
            assert line, (folder / "serve.log").read_text()
            text += line
        url = json.loads(text)["url"]
        yield Server(process, url, folder)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(15)
        finally:
            process.kill()
            process.stdout.close()


def wait_until(condition: Any, seconds: float = 10) -> None:
    """Until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def train(folder: Path, name: str = "own", **head: object) -> Path:
    """Trains a model on drawn images in a folder; where it was trained there before, with the same backbone."""
    from tests.commands import in_process

    if not (folder / "net").exists():
        convolutional(folder / "net" / "tiny.onnx")
        write_json(folder / "net" / "config.json", {"pretrained_cfg": {"input_size": [3, SIDE, SIDE]}})
        drawn(folder / "data")
    content = {
        "dataset": {"path": "data"},
        "image": {"resize": "squash", "max_file_mb": 1},
        "backbone": {"path": "net", "precision": "f32", "mean": [0.5] * 3, "std": [0.25] * 3},
        "head": {"Cs": [0.1], **head},
        "evaluate": {"figures": False, "report": False, "cross_validation": None},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    done = in_process(folder, folder / "cache")("train", "--config", f"{name}.yaml", "--json")
    assert done.code == 0, done.err
    return (folder / "runs" / name / "latest").resolve()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a tiny random network on drawn images, classes left and right."""
    for package in ("fastapi", "httptools", "prometheus_client", "python_multipart", "uvicorn"):
        pytest.importorskip(package, reason="the extra serve is not installed")
    folder = tmp_path_factory.mktemp("served")
    train(folder)
    return folder


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[Server]:
    """One for the tests of a module, which leave it as it was."""
    with serving(trained, "--corrections", trained / "corrections") as started:
        yield started


@pytest.fixture
def image(trained: Path) -> bytes:
    """An image of the test split."""
    return (trained / "data/test/left/0.png").read_bytes()
