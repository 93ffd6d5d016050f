"""The exact pixels that enter the backbone in train, evaluate, predict and inspect, recorded in its place."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from tests.torture.image_bytes import BACKGROUND
from tests.torture.image_kinds import ALL_FORMATS, Kind

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.weights import Weights
from tlcli.config.load import load_config
from tlcli.engines.interface import EngineChoice
from tlcli.features import pipeline as extract
from tlcli.images.decode import prepare
from tlcli.workflows import answer, bundled_engine, frozen_pass
from tlcli.workflows.evaluate import evaluate
from tlcli.workflows.inspect import inspect
from tlcli.workflows.predict import predict
from tlcli.workflows.train import train

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROW = CATALOG["mobilenet_v3_small"]


class Recorder:
    """Replaces the engine: records the pixels that enter it, and returns random features seeded by the image."""

    def __init__(self) -> None:
        self.entered: dict[str, NDArray[np.uint8]] = {}
        """Pixels by the sha256 of the image's file."""
        self._decoded: dict[bytes, list[str]] = {}

    def decoding(self, data: bytes, preparation: Any, decode: Any) -> "NDArray[np.uint8]":
        """Decodes, and records which image the pixels belong to."""
        pixels: NDArray[np.uint8] = decode(data, preparation)
        self._decoded.setdefault(pixels.tobytes(), []).append(hashlib.sha256(data).hexdigest())
        return pixels

    def features(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """See :class:`tlcli.engines.interface.Engine`."""
        for pixels in images:
            of = self._decoded[pixels.tobytes()]  # only decoded pixels may enter
            for sha256 in of:
                self.entered[sha256] = pixels.copy()
            number = int.from_bytes(hashlib.sha256(of[0].encode()).digest()[:8], "big")
            yield np.random.default_rng(number).random(_ROW.features, np.float32)


@contextmanager
def recording(cache: Path) -> Iterator[Recorder]:
    """Within the body, every workflow uses a recorder as its engine, and this cache."""
    recorder = Recorder()

    def decoding(data: bytes, preparation: Any) -> "NDArray[np.uint8]":
        return recorder.decoding(data, preparation, prepare)

    with ExitStack() as stack:
        for module, name, stand_in in (
            (extract, "prepare", decoding),
            (answer, "prepare", decoding),
            (frozen_pass, "choose_engine", lambda *_: EngineChoice("openvino", "f32", "recorder")),
            (frozen_pass, "find_weights", lambda *_: Weights(cache / "none", "0" * 64)),
            (frozen_pass, "open_engine", lambda *_: recorder),
            (bundled_engine, "opened", lambda *_: recorder),
        ):
            stack.enter_context(mock.patch.object(module, name, stand_in))
        stack.enter_context(mock.patch.dict("os.environ", {"TLCLI_CACHE": str(cache)}))
        yield recorder


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
    for name, recorder in {"evaluate": evaluating, "predict": predicting, "inspect": inspecting}.items():
        entered = recorder.entered
        assert entered.keys() == valid.keys(), [valid.get(sha, sha) for sha in entered.keys() ^ valid.keys()]
        for sha256, pixels in {**predicting.entered, **training.entered}.items():
            assert np.array_equal(entered[sha256], pixels), f"{valid[sha256]}: different pixels in {name}"
    assert training.entered.keys() == valid.keys() - test
    return len(valid)
