"""The models that are served: one of each run, heads of one backbone behind one pass, replaced as a whole by a reload.

Shapes: W width of all blocks of features.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from tlcli.errors import TlcliError, UsageError
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


class _Closable(Protocol):
    def close(self) -> None: ...


Result = TypeVar("Result")
Opened = TypeVar("Opened", bound=_Closable)
_MANY = 1000
"""Expected images: the backbone is compiled for throughput."""


class _Once(Generic[Opened]):
    """What is opened once, in a thread, when it is first needed. A waiter that is cancelled leaves it to the next one,
    and none is left open by a ``close`` in between."""

    def __init__(self, opener: Callable[[], Opened]) -> None:
        self.value: Opened | None = None
        self._opener, self._lock, self._is_closed = opener, threading.Lock(), False
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Returns when it is open; a failure is raised to all that wait, and the next call tries again."""
        if self.value is not None:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(asyncio.to_thread(self._open))
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())  # no warning
        await asyncio.shield(self._opening)

    def _open(self) -> None:
        with self._lock:
            if not self._is_closed:
                self.value = self._opener()

    def close(self) -> None:
        """Waits for an opening in progress."""
        with self._lock:
            self._is_closed = True
            if self.value is not None:
                self.value.close()


class Trunk:
    """A backbone with its preparation of images, which one or several heads share."""

    def __init__(
        self, engine: "Engine", preparation: "Preparation", open_alone: "Callable[[], Engine] | None" = None
    ) -> None:
        """Makes a trunk.

        Args:
            engine: compiled for throughput; :meth:`close` closes it.
            preparation: of images, for the engine.
            open_alone: opens the same backbone compiled for latency, for an image that comes alone.
        """
        self.preparation = preparation
        self._engine = engine
        self._alone: _Once[Engine] | None = None if open_alone is None else _Once(open_alone)
        self._running = 0
        self._maps: _Once[Runner[FeatureMaps]] = _Once(engine.maps)
        self._slots = asyncio.Semaphore(max(1, engine.window // 2))

    async def features(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Features of prepared pixels, all blocks [W]. As many images as keep the cores busy are computed together, the
        others wait their turn; none waits for a batch to fill."""
        async with self._slots:
            alone = self._alone.value if self._alone is not None and not self._running else None
            engine = alone or self._engine
            self._running += 1
            try:
                return (await _done(engine.submit(Item(pixels, is_prepared=True))))[0]
            finally:
                self._running -= 1

    async def warm(self) -> None:
        """Opens what an image that comes alone is computed by; until then it is computed like the others."""
        if self._alone is not None:
            await self._alone.open()

    async def maps(self, pixels: "NDArray[np.uint8]") -> "FeatureMaps":
        """Feature maps of prepared pixels; the first call compiles the backbone for them."""
        await self._maps.open()
        if self._maps.value is None:  # closed: whoever uses the models keeps them open
            raise RuntimeError("the backbone is closed")
        async with self._slots:
            return (await _done(self._maps.value.submit(Item(pixels, is_prepared=True))))[0]

    def close(self) -> None:
        """Frees its threads, when what they compute is done."""
        for one in (self._maps, self._alone):
            if one is not None:
                one.close()
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

    async def warm(self) -> None:
        """Opens what makes single images faster; where that fails, they are as fast as the others."""
        for trunk in self.trunks:
            with suppress(TlcliError):
                await trunk.warm()

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
            engine = predictor.engine()
            alone = partial(_low_latency, load, run, progress)
            trunks[key] = Trunk(engine, preparation, alone), engine
        name = given_name(run) or run.parent.name
        models.append(Model(name, run.name, run, predictor, trunks[key][0]))
    return Models(models)


def _low_latency(load: Callable[[Path, int, Progress], Predictor], run: Path, progress: Progress) -> "Engine":
    return load(run, 1, progress).engine(few=True)
