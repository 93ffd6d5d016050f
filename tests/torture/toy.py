"""A training that takes a quarter of a second: drawn images, and a double of the engine.

All but the backbone is real: index, decoder, store, head, run folder, evaluate. The double gives each image a feature
that follows from its pixels. A shard is :data:`SHARD` rows instead of 512, so that there are many.
Jobs run in processes that are forked from one that has imported all it needs.
"""

import hashlib
import io
import json
import os
import resource
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy
from PIL import Image

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.weights import Weights
from tlcli.cli import app
from tlcli.config import build_features
from tlcli.engines.double import FakeEngine
from tlcli.features import pipeline
from tlcli.images.items import Decoder
from tlcli.runs import folders as runs
from tlcli.workflows import evaluate, train  # noqa: F401 - the commands import them late

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARD = 8
IMAGES = 60
"""With their augmented views about 96 rows: 12 shards."""
WINDOW = 2
"""Images at a time in the engine."""
MOST_LOST = SHARD + 1 + 2 * WINDOW
"""What a killed process may lose: a shard that was not written yet, the other view of its last image, and both views of
the images in the engine."""


class ToyEngine(FakeEngine):
    """Counts the images that it is given, in all processes, by a byte each in a file."""

    counter: Path
    """Set before one is opened."""

    def __init__(self, decoder: Decoder, blocks: Blocks) -> None:
        super().__init__(decoder, blocks)
        self.window = WINDOW

    def feature(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        with suppress(OSError), self.counter.open("ab", buffering=0) as file:  # where files must not grow
            file.write(b".")
        return super().feature(pixels)


def draw(folder: Path, count: int = IMAGES) -> None:
    """Two classes of noise, and a config."""
    random = np.random.default_rng(0)
    for label, level in (("dark", 90), ("light", 140)):
        (folder / "shapes" / label).mkdir(parents=True)
        for number in range(count // 2):
            pixels = np.clip(random.normal(level, 40, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "shapes" / label / f"{number}.png")
    (folder / "shapes.yaml").write_text(
        f"dataset:\n  path: {folder / 'shapes'}\n"
        "image:\n  size: 32\n"
        "augment:\n  views: 1\n  flip: horizontal\n"
        "backbone:\n  name: mobilenet_v2\n  weights: random\n  engine: keras\n"
        "head:\n  Cs: [0.1, 1]\n  folds: 2\n"
        "evaluate:\n  figures: false\n  report: false\n  cross_validation: {folds: 2, repeats: 1}\n"
    )
    (folder / "weights").write_bytes(b"unused")


def command(said: Path, *arguments: str) -> int:
    """Runs ``tlcli ARGUMENTS --quiet`` in this process; its exit code. What it writes to stderr is added to a file."""
    sys.argv = ["tlcli", *arguments, "--quiet"]
    with redirect_stderr(io.StringIO()) as errors, redirect_stdout(io.StringIO()):
        try:
            app.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        else:
            raise AssertionError("main() ends with SystemExit")
    if errors.getvalue():
        allowed = resource.getrlimit(resource.RLIMIT_FSIZE)[1]  # a trial may have lowered the other
        resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, allowed))
        with said.open("a", encoding="utf-8") as file:
            file.write(errors.getvalue())
    return code


@dataclass(frozen=True)
class Toy:
    """One folder with images, runs and a cache."""

    folder: Path
    """With what :func:`draw` has put there."""

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def said(self) -> Path:
        """What commands have written to stderr."""
        return self.folder / "said.txt"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def computed(self) -> int:
        """Images that the engine was given, in all processes."""
        return self.counter.stat().st_size if self.counter.exists() else 0

    @property
    def counter(self) -> Path:
        """A byte for each image."""
        return self.folder / "computed"

    def clear(self) -> None:
        """As if nothing had been trained."""
        for path in (self.runs, self.cache):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.counter, self.said):
            path.unlink(missing_ok=True)

    def install(self) -> None:
        """Replaces the backbone by :class:`ToyEngine` in this process, below the real command line."""
        os.environ["TLCLI_CACHE"] = str(self.cache)
        ToyEngine.counter = self.counter
        pipeline.SHARD_ROWS = SHARD
        weights = Weights(self.folder / "weights", "0" * 64)
        setattr(build_features, "find_weights", lambda *_: weights)  # noqa: B010 - to mypy it is not there
        setattr(build_features, "open_engine", ToyEngine.open)  # noqa: B010

    def command(self, name: str) -> int:
        """Runs ``tlcli train`` or ``tlcli evaluate`` in this process; its exit code. See :attr:`said`."""
        chosen = ["--config", str(self.folder / "shapes.yaml")] if name == "train" else []
        return command(self.said, name, *chosen, "--runs-dir", str(self.runs))

    def both(self) -> int:
        """Trains and evaluates; the first exit code that is not 0."""
        return self.command("train") or self.command("evaluate")


def forked(job: Callable[[], int], before: Callable[[], object] = lambda: None) -> int:
    """Starts a job in a process of its own, which ends with the code that it gives; its number. See :func:`ending`."""
    number = os.fork()
    if number:
        return number
    code = 99
    try:
        before()
        code = job()
    except BaseException:  # noqa: BLE001 - whatever happens, the process must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ending(number: int) -> int:
    """Waits for a process; its exit code, negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def warm_up() -> None:
    """Imports what the jobs import late, so that they do not each do it; runs nothing that starts threads."""
    import filelock  # noqa: F401
    import scipy.optimize
    import scipy.stats  # noqa: F401
    import sklearn.metrics  # noqa: F401

    from tlcli.evaluation import (
        activation_map,  # noqa: F401
        calibration,  # noqa: F401
        intervals,  # noqa: F401
        metrics,  # noqa: F401
        nearest,  # noqa: F401
    )
    from tlcli.heads import logistic_regression  # noqa: F401


def result_of(folder: Path) -> dict[str, object]:
    """The results of a training and its evaluation, without names and times; features by their keys."""
    run = runs.find_run(folder / "runs")
    shards = sorted((folder / "cache" / "features").glob("*/*.safetensors"))
    loaded = [safetensors.numpy.load_file(path) for path in shards]
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in shards)
    rows: dict[str, str] = {}
    for arrays in loaded:
        blocks = [array for name, array in sorted(arrays.items()) if name != "keys"]
        for number, key in enumerate(arrays["keys"]):
            row = b"".join(block[number].tobytes() for block in blocks).hex()
            assert rows.setdefault(key.tobytes().hex(), row) == row
    record = json.loads((run / "run.json").read_text())
    for name in ("seconds", "features"):
        record.pop(name)
    files = ("model/head.safetensors", "model/reference.safetensors", "model/manifest.json", "predictions.csv")
    return {
        **{name: (run / name).read_bytes() for name in files},
        "metrics": json.loads((run / "metrics.json").read_text()),
        "history": (run / "history.csv").read_bytes(),
        "record": {name: value for name, value in record.items() if name != "data_root"},
        "rows": rows,
    }
