"""The exact pixels that enter the backbone in train, evaluate, predict and inspect, recorded in its place."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from tests.torture.image_bytes import BACKGROUND
from tests.torture.image_kinds import ALL_FORMATS, Kind

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import Weights
from tlcli.config import build_features
from tlcli.config.load import load_config
from tlcli.engines.double import FakeEngine
from tlcli.images.items import Decoder, Item
from tlcli.model.bundle import load_bundle
from tlcli.model.predictor import Predictor
from tlcli.progress import Progress
from tlcli.workflows.evaluate import evaluate
from tlcli.workflows.inspect import inspect
from tlcli.workflows.predict import predict
from tlcli.workflows.train import train

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROW = CATALOG["mobilenet_v3_small"]
Entered = dict[str, "NDArray[np.uint8]"]
"""Pixels that entered the backbone, by the sha256 of the image's file."""


class Recorder(FakeEngine):
    """Records the pixels that enter it."""

    def __init__(self, decoder: Decoder, entered: Entered) -> None:
        super().__init__(decoder, _ROW.blocks)
        self._entered, self._of_thread = entered, threading.local()

    def submit(self, item: Item) -> "Future[list[NDArray[np.float32]]]":
        """See :meth:`tlcli.engines.interface.Engine.submit`."""

        def rows() -> "list[NDArray[np.float32]]":
            assert isinstance(item.source, Path)
            self._of_thread.path = item.source
            return [self._compute(pixels) for pixels in self._decoder.views(item)]

        return self._pool.submit(rows)

    def feature(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """See :class:`FakeEngine`."""
        sha256 = hashlib.sha256(self._of_thread.path.read_bytes()).hexdigest()
        self._entered[sha256] = pixels.copy()
        return super().feature(pixels)


@contextmanager
def recording(cache: Path) -> Iterator[Entered]:
    """Within the body, every workflow uses a recorder as its engine, and this cache."""
    entered: Entered = {}

    def opened(_spec: BackboneSpec, decoder: Decoder, _progress: Progress) -> Recorder:
        return Recorder(decoder, entered)

    def loaded(run: Path, *_: object) -> Predictor:
        bundle = load_bundle(run / "model")
        return Predictor(bundle, Recorder(Decoder(bundle.preparation), entered))

    with ExitStack() as stack:
        for module, name, double in (
            (build_features, "choose_engine", lambda *_: EngineChoice("openvino", "f32", "recorder")),
            (build_features, "find_weights", lambda *_: Weights(cache / "none", "0" * 64)),
            (build_features, "open_engine", opened),
            (Predictor, "load", loaded),
        ):
            stack.enter_context(mock.patch.object(module, name, double))
        stack.enter_context(mock.patch.dict("os.environ", {"TLCLI_CACHE": str(cache)}))
        yield entered


def _config(folder: Path) -> Path:
    path = folder / "kinds.yaml"
    path.write_text(
        f"dataset: {{path: '{folder / 'data'}', max_bad_fraction: 1}}\n"
        f"image: {{size: 64, resize: pad, background: {list(BACKGROUND)}, formats: {list(ALL_FORMATS)}}}\n"
        f"backbone: {{name: {_ROW.name}, weights: random}}\nhead: {{Cs: [0.1], folds: 2}}\n"
        "evaluate: {figures: false, report: false}\n"
    )
    return path


def same_pixels(folder: Path, good: Sequence[Kind], bad: Sequence[Kind]) -> int:
    """Runs train, evaluate, predict and inspect on all kinds.

    Returns:
        how many valid images entered the backbone in each of them, with equal pixels.

    Raises:
        AssertionError: pixels differ, a valid image did not enter, or a broken one did.
    """
    paths = {}
    for number, kind in enumerate([*good, *(kind for kind in bad if "opted" not in kind.name)]):
        path = folder / "data" / ("one", "two")[number % 2] / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kind.data)
        paths[path] = kind
    valid = {hashlib.sha256(kind.data).hexdigest(): kind.name for kind in good}
    loaded = load_config(_config(folder))
    with recording(folder / "train") as training:
        made = train(loaded, folder / "runs")
    with recording(folder / "evaluate") as evaluating:
        evaluate(made.run_dir)
    with recording(folder / "predict") as predicting:
        found = predict(made.run_dir, [str(path) for path in paths], 1)
    with recording(folder / "inspect") as inspecting:
        inspect(loaded, folder / "inspect.html")
    for kind, one in zip(paths.values(), found.predictions, strict=True):
        assert (one.error is None) == kind.valid, f"{kind.name}: {one.error}"
    test = {one.sha256 for one in made.index.of("test")}
    for name, entered in {"evaluate": evaluating, "predict": predicting, "inspect": inspecting}.items():
        assert entered.keys() == valid.keys(), [valid.get(sha, sha) for sha in entered.keys() ^ valid.keys()]
        for sha256, pixels in {**predicting, **training}.items():
            assert np.array_equal(entered[sha256], pixels), f"{valid[sha256]}: different pixels in {name}"
    assert training.keys() == valid.keys() - test
    return len(valid)
