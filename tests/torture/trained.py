"""A run for trials: trained by the real command line on images drawn here, with a small random backbone."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Trained:
    """A folder with a config, images and a run."""

    folder: Path
    cache: Path

    @property
    def run(self) -> Path:
        """The run's folder."""
        return (self.folder / "runs" / "latest").resolve()

    def tlcli(
        self, *arguments: object, cache: Path | None = None, limit: float = 120, environment: Mapping[str, str] = {}
    ) -> Done:
        """Runs the command in the folder; raises if it takes longer than the limit (s)."""
        variables = {**os.environ, "TLCLI_CACHE": str(cache or self.cache), "COLUMNS": "100", **environment}
        command = [sys.executable, "-m", "tlcli", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=variables, capture_output=True, check=False, timeout=limit
        )  # fmt: skip
        out, err = (text.decode(errors="backslashreplace") for text in (done.stdout, done.stderr))
        assert "Traceback" not in err, err
        assert "internal.bug" not in out + err, err
        return Done(done.returncode, out, err)


CONFIG = (
    "dataset:\n  path: shapes\nimage:\n  size: 32\nbackbone:\n  name: mobilenet_v2\n  weights: random\n"
    "head:\n  Cs: [0.1]\n  folds: 2\nevaluate:\n  figures: false\n  report: false\n"
    "  cross_validation: {folds: 2, repeats: 1}\n"
)


def trained(folder: Path, cache: Path) -> Trained:
    """Draws images and trains.

    Args:
        folder: an empty one.
        cache: of tlcli; may hold the converted backbone already.
    """
    random = np.random.default_rng(0)
    for label, level in (("dark", 60), ("light", 190)):
        (folder / "shapes" / label).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(random.normal(level, 40, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "shapes" / label / f"{number}.png")
    (folder / "shapes.yaml").write_text(CONFIG)
    made = Trained(folder, cache)
    done = made.tlcli("train", "--config", "shapes.yaml")
    assert done.code == 0, done.err
    return made
