"""One network of each kind takes inputs of odd sizes that are not square, of its least height.

This module is also the program that builds them, on Keras's OpenVINO backend, which Keras fixes at import.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.backbones.kinds import KINDS

from tlcli.backbones.catalog import CATALOG

pytestmark = pytest.mark.slow

WIDTH = 161


def write_shapes() -> None:
    """Prints the shapes of the maps of each kind."""
    from tlcli.backbones.build import build

    found = {}
    for name in KINDS:
        row = CATALOG[name]
        found[name] = [one.shape[1:] for one in build(row, (row.min_size | 1, WIDTH), None).maps]
    print(json.dumps(found))  # noqa: T201 - the test reads it


@pytest.fixture(scope="module")
def shapes() -> "dict[str, list[tuple[int, int, int]]]":
    environment = {**os.environ, "KERAS_BACKEND": "openvino", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tests.backbones.test_sizes"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, list[tuple[int, int, int]]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", KINDS)
def test_odd_sizes_give_every_layer(name: str, shapes: "dict[str, list[tuple[int, int, int]]]") -> None:
    row = CATALOG[name]
    widths = dict.fromkeys((block.layer, block.width) for block in row.blocks.all)
    assert [channels for _, _, channels in shapes[name]] == [width for _, width in widths]
    assert all(high >= 1 and wide > high for high, wide, _ in shapes[name])


if __name__ == "__main__":
    write_shapes()
