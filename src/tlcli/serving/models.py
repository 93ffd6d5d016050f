"""The models that are served: one of each run, heads of one backbone behind one pass, replaced as a whole by a reload.

Shapes: W width of all blocks of features.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tlcli.errors import UsageError
from tlcli.images.items import Item
from tlcli.model.bundle import load_bundle, preparation_of
from tlcli.model.manifest import read_manifest
from tlcli.model.predictor import Predictor
from tlcli.progress import SILENT, Progress
from tlcli.runs.folders import given_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.engines.feature_maps import FeatureMaps
    from tlcli.engines.interface import Engine, Runner
    from tlcli.images.preparation import Preparation

Result = TypeVar("Result")
_MANY = 1000
"""Expected images: the backbone is compiled for throughput."""


class Trunk:
    """A backbone with its preparation of images, which one or several heads share."""

    def __init__(self, engine: "Engine", preparation: "Preparation") -> None:
        """Takes an engine; :meth:`close` closes it."""
        self.preparation = preparation
        self._engine = engine
        self._maps: Runner[FeatureMaps] | None = None
        self._opening = asyncio.Lock()
        self._slots = asyncio.Semaphore(max(1, engine.window // 2))

    async def features(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Features of prepared pixels, all blocks [W]. As many images as keep the cores busy are computed together, the
        others wait their turn; none waits for a batch to fill."""
        async with self._slots:
            return (await _done(self._engine.submit(Item(pixels, is_prepared=True))))[0]

    async def maps(self, pixels: "NDArray[np.uint8]") -> "FeatureMaps":
        """Feature maps of prepared pixels; the first call compiles the backbone for them."""
        async with self._opening:
            if self._maps is None:
                self._maps = await asyncio.to_thread(self._engine.maps)
        async with self._slots:
            return (await _done(self._maps.submit(Item(pixels, is_prepared=True))))[0]

    def close(self) -> None:
        """Frees its threads, when what they compute is done."""
        if self._maps is not None:
            self._maps.close()
        self._engine.close()


async def _done(future: "Future[Result]") -> Result:
    return await asyncio.wrap_future(future)


@dataclass(frozen=True)
class Model:
    """A run's model."""

    name: str
    """That train was given, else of its config."""
    version: str
    """The run: ``20261127T190000Z-1a2b``."""
    run: Path
    predictor: Predictor
    trunk: Trunk

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes, in the order of its probabilities."""
        return self.predictor.labels


class Models:
    """All models at one time."""

    def __init__(self, models: Sequence[Model]) -> None:
        """Takes models, of which the first is the one that is meant where none is named."""
        self.all = tuple(models)
        self.trunks = tuple(dict.fromkeys(model.trunk for model in models))
        self._users = 0
        self._is_replaced = False

    def versions(self, name: str) -> list[Model]:
        """Those of a name, the newest first."""
        return sorted((one for one in self.all if one.name == name), key=lambda one: one.version, reverse=True)

    def find(self, name: str | None, version: str | None = None) -> Model | None:
        """The model of a name (None: the first), by its version or the newest."""
        if name is None:
            return self.all[0]
        return next((one for one in self.versions(name) if version in (None, one.version)), None)

    @contextmanager
    def in_use(self) -> Iterator["Models"]:
        """While the body runs, a reload does not close them."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._close_if_unused()

    def replaced(self) -> None:
        """They are no longer served: closes them when the last request that uses them has its answer."""
        self._is_replaced = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_replaced and not self._users:
            for trunk in self.trunks:  # in a thread, as it waits for what is computed
                asyncio.get_running_loop().run_in_executor(None, trunk.close)


def load_models(
    runs: Sequence[Path],
    progress: Progress = SILENT,
    load: Callable[[Path, int, Progress], Predictor] = Predictor.load,
) -> Models:
    """Loads the models of runs. Those with the same backbone and preparation share one.

    Args:
        runs: their directories.
        progress: reports a conversion of a backbone.
        load: opens a run with its engine.

    Raises:
        ModelError, NetworkError: see :meth:`tlcli.model.predictor.Predictor.load`.
        UsageError: a run is named twice.
    """
    models: list[Model] = []
    trunks: dict[object, tuple[Trunk, Engine]] = {}
    for run in runs:
        if any(one.run == run for one in models):
            raise UsageError("usage.run_twice", f"The run {run} is given twice.", "Give each --run once.")
        manifest = read_manifest(run / "model" / "manifest.json")
        preparation = preparation_of(manifest)
        key = manifest.backbone.model_copy(update={"inputs": (), "weights": ""}), preparation
        if key in trunks:
            predictor = Predictor(load_bundle(run / "model"), trunks[key][1])
        else:
            predictor = load(run, _MANY, progress)
            trunks[key] = Trunk(predictor.engine, preparation), predictor.engine
        name = given_name(run) or run.parent.name
        models.append(Model(name, run.name, run, predictor, trunks[key][0]))
    return Models(models)
