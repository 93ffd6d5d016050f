"""Hostile files named .safetensors as backbone.weights: read where the backbone is built, in a process of its own."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from tests.torture.hostile_bytes import PAYLOADS
from tests.torture.hostile_cases import broken_arrays

from tlcli.backbones.catalog import CATALOG

_ROW = CATALOG["mobilenet_v3_small"]
_ROOT = Path(__file__).parents[2]


def _wrong() -> dict[str, bytes]:
    """Good safetensors of other arrays."""
    return {
        "none": save({}),
        "one array": save({"0000": np.zeros(3, np.float32)}),
        "300 arrays": save({f"{number:04d}": np.zeros(1, np.float32) for number in range(300)}),
        "names that lead out": save({"../../x": np.zeros(1, np.float32)}),
    }


def run(folder: Path) -> Counter[str]:
    """The number of refusals by code; AssertionError where a file was accepted."""
    canary, files = folder / "canary", folder / "weights"
    files.mkdir()
    names = {}
    contents = {**{name: made(canary) for name, made in PAYLOADS.items()}, **broken_arrays(), **_wrong()}
    for number, (name, data) in enumerate(contents.items()):
        path = files / f"{number:03d}.safetensors"
        path.write_bytes(data)
        names[str(path)] = name
    environment = {**os.environ, "KERAS_BACKEND": "openvino", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tests.torture.hostile_weights", *names]
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not canary.exists(), "code of a file of weights ran"
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    assert len(outcomes) == len(names)
    for file, came in outcomes.items():
        assert came.startswith("`model."), f"{names[file]}: {came}"
    return Counter(outcomes.values())


def main() -> None:
    """The process: tries to load each file that its arguments name."""
    from tlcli.backbones import build
    from tlcli.backbones.weights_loading import load_weights
    from tlcli.errors import ModelError

    network, outcomes = build._network(_ROW, (32, 32)), {}
    for name in sys.argv[1:]:
        try:
            load_weights(network, Path(name), _ROW.name)
            outcomes[name] = "was accepted"
        except ModelError as error:
            outcomes[name] = f"`{error.code}`, exit code {error.exit_code}"
        except BaseException as error:  # noqa: BLE001 - the outcome
            outcomes[name] = repr(error)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
