"""A trained model in memory: images in, answers out. The predict command, the Python API and servers share it.

Importing this module imports neither NumPy nor OpenVINO, so that :meth:`Predictor.load` imports them side by side.
Shapes: D features, h and w positions of the last feature map, S pixels a side.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from tlcli.engines.compiled import CompiledGraph
from tlcli.errors import ModelError
from tlcli.model.backbone import find_compiled, load_backbone
from tlcli.model.manifest import BundleManifest, read_manifest
from tlcli.model.prediction import NONE_OF_THESE, UNSURE, Explanation, Neighbour, Prediction
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.engines.feature_maps import FeatureMaps
    from tlcli.engines.interface import Engine
    from tlcli.engines.openvino import LoadedGraph
    from tlcli.images.items import Item
    from tlcli.model.bundle import Bundle

    Image = str | os.PathLike[str] | bytes | NDArray[np.uint8]
    """A file, an encoded image, or pixels uint8 [H, W, 3]."""

_NEIGHBOURS = 5
_FEW = 8
"""Images for which a graph compiled for latency pays, which loads 0.1 s sooner than one compiled for throughput."""


class Predictor:
    """A trained model. Its methods may be called from several threads at once."""

    def __init__(self, bundle: "Bundle", engine: "Engine", few: bool = False, progress: Progress = SILENT) -> None:
        """Makes a predictor of a bundle and an engine that runs its backbone; :meth:`load` is the usual way.

        Args:
            bundle: the trained head and what belongs to it.
            engine: runs the bundle's backbone on images prepared as the bundle says.
            few: whether the engine is compiled for few images (low latency).
            progress: reports a conversion of the backbone that a later call needs.
        """
        self.bundle = bundle
        self.labels = bundle.labels
        self._engines: dict[bool, Engine] = {few: engine}
        self._opening = Lock()
        self._progress = progress

    @classmethod
    def load(cls, run: Path, expected_images: int = 1, progress: Progress = SILENT) -> "Predictor":
        """Loads the model of a run.

        Args:
            run: the run's directory.
            expected_images: how many images the next call has; up to 8 load a graph compiled for latency.
            progress: reports a download or conversion of the backbone.

        Raises:
            ModelError: the run, its bundle or its backbone is missing or damaged.
            NetworkError: the backbone's weights are missing here and cannot be downloaded.
        """
        folder = run / "model"
        manifest, few = read_manifest(folder / "manifest.json"), expected_images <= _FEW
        with ThreadPoolExecutor(1) as beside:
            # Checking 70 MB of compiled graph takes as long as importing OpenVINO, loading it as long as the rest.
            checked = beside.submit(find_compiled, manifest, few)
            from tlcli.engines.openvino import OpenVINOEngine  # noqa: PLC0415 - see the module

            compiled = checked.result()
            loading = beside.submit(_load_if_cached, folder, manifest, compiled, few, progress)
            from tlcli.images.items import Decoder  # noqa: PLC0415 - NumPy, Pillow
            from tlcli.model.bundle import load_bundle  # noqa: PLC0415

            bundle = load_bundle(folder)
            # What takes longer waits until the bundle is known to be intact.
            graph = loading.result() or load_backbone(folder, manifest, compiled, few, progress)
        return cls(bundle, OpenVINOEngine(graph, bundle.blocks, Decoder(bundle.preparation)), few, progress)

    def engine(self, few: bool = False) -> "Engine":
        """Returns what runs its backbone, for those who share it among models; closed by no method of this class.

        Args:
            few: the one of low latency, where the model was loaded for few images.
        """
        return self._engine(few)

    def predict(
        self,
        images: "Iterable[Image]",
        top_k: int = 1,
        min_confidence: float = 0.0,
        progress: Progress = SILENT,
        coverage: float | None = None,
    ) -> list[Prediction]:
        """Classifies images.

        Args:
            images: files, encoded images (bytes), or pixels uint8 [H, W, 3] in RGB order.
            top_k: how many of the most probable classes ``top`` holds.
            min_confidence: below this probability the answer is "unsure".
            progress: counts the images done.
            coverage: 0.8, 0.9, 0.95 or 0.99: also the set of classes that contains that of new images like those of
                training and validation with this probability.

        Raises:
            ModelError: the model has no prediction sets of this coverage.

        Returns:
            One prediction for each image, in order; an unreadable image has one that says why.
        """
        if isinstance(images, str | bytes | os.PathLike):  # an iterable of letters, or none at all
            raise TypeError(f"predict takes a list of images. Received: {images!r:.60}. Write: predict([image])")
        given = list(images)
        return list(self.stream(given, top_k, min_confidence, progress, len(given) <= _FEW, coverage))

    def stream(
        self,
        images: "Iterable[Image]",
        top_k: int = 1,
        min_confidence: float = 0.0,
        progress: Progress = SILENT,
        few: bool = False,
        coverage: float | None = None,
    ) -> Iterator[Prediction]:
        """Like :meth:`predict`, for any number of images: yields their predictions in order, with few images in memory.

        Images are read ahead of the predictions, as many as keep all cores busy (``window`` of the engine): the n-th
        prediction is yielded when it and those before it are there, and n - 1 + window images were read or ``images``
        has ended. Where images arrive one by one and each answer is wanted at once, call :meth:`predict` for each.
        """
        from tlcli.images.decode import BadImageError  # noqa: PLC0415 - see the module
        from tlcli.system.prefetch import in_order  # noqa: PLC0415

        self._threshold(coverage)  # before the images are read
        engine = self._engine(few)
        items = ((_name(image, number), _item(image)) for number, image in enumerate(images, 1))
        for (name, _), feature in in_order(lambda pair: engine.submit(pair[1]), items, engine.window):
            try:
                yield self.answer(name, feature.result()[0], top_k, min_confidence, coverage)
            except BadImageError as error:
                yield Prediction(name, None, None, (), (), error=error.reason, error_code=error.code)
            progress.advance()

    def explain(self, images: "Sequence[Image]") -> "Iterator[Explanation | None]":
        """Explains the answer to each image by its feature map and its neighbours; None for an unreadable image."""
        from tlcli.images.decode import BadImageError  # noqa: PLC0415 - see the module
        from tlcli.images.items import Decoder  # noqa: PLC0415
        from tlcli.system.prefetch import in_order  # noqa: PLC0415

        decoder, engine = Decoder(self.bundle.preparation), self._engine(few=False).maps()
        try:
            for image, maps in in_order(lambda one: engine.submit(_item(one)), images, engine.window):
                try:
                    yield self.explanation(decoder.views(_item(image))[0], maps.result()[0])
                except BadImageError:
                    yield None
        finally:
            engine.close()

    def explanation(self, pixels: "NDArray[np.uint8]", maps: "FeatureMaps") -> Explanation:
        """Explains the answer to prepared pixels, uint8 [H, W, 3], by the feature maps that an engine gave of them."""
        import numpy as np  # noqa: PLC0415 - see the module

        from tlcli.evaluation.activation_map import activation_map  # noqa: PLC0415
        from tlcli.evaluation.nearest import nearest  # noqa: PLC0415
        from tlcli.evaluation.thresholds import decided  # noqa: PLC0415
        from tlcli.images.tiles import tile_boxes  # noqa: PLC0415

        bundle, head, reference = self.bundle, self.bundle.head, self.bundle.reference
        row = bundle.blocks.rounded(maps.features())[np.newaxis]  # [1, W]
        label = int(decided(head.probabilities(bundle.blocks.take(row, bundle.inputs)), bundle.thresholds)[0])
        feature = bundle.blocks.take(row, bundle.blocks.last)
        found = nearest(feature, reference.features.astype(np.float32), _NEIGHBOURS)
        neighbours = (
            Neighbour(reference.names[index], self.labels[reference.labels[index]], min(float(similarity), 1.0))
            for index, similarity in zip(found.numbers[0], found.similarities[0], strict=True)
        )
        height, width = pixels.shape[:2]
        boxes = tile_boxes((height, width), bundle.preparation.size)
        no_map = bundle.no_map
        evidence = activation_map(maps, head, bundle.inputs, label, boxes) if no_map is None else None
        return Explanation(pixels, evidence, tuple(neighbours), no_map)

    def _engine(self, few: bool) -> "Engine":
        """An engine for few or many images; one for many does for few as well."""
        with self._opening:
            if not (few or False in self._engines):
                from tlcli.engines.openvino import OpenVINOEngine  # noqa: PLC0415 - see the module
                from tlcli.images.items import Decoder  # noqa: PLC0415

                manifest = self.bundle.manifest
                graph = load_backbone(
                    self.bundle.folder, manifest, find_compiled(manifest, few=False), False, self._progress
                )
                self._engines[False] = OpenVINOEngine(graph, self.bundle.blocks, Decoder(self.bundle.preparation))
            return self._engines.get(few) or self._engines[not few]

    def _threshold(self, coverage: float | None) -> float | None:
        """The least probability of a class in the prediction sets of a coverage."""
        if coverage is None:
            return None
        known = self.bundle.manifest.coverage_thresholds or {}
        if f"{coverage:g}" not in known:
            raise ModelError(
                "model.no_prediction_sets",
                f"The model has no prediction sets of coverage {coverage:g}. It has: {', '.join(known) or 'none'}.",
                "Higher coverages need more images. A model of an earlier version has none: train again.",
            )
        return known[f"{coverage:g}"]

    def answer(
        self, name: str, row: "NDArray[np.float32]", top_k: int = 1, min_confidence: float = 0.0,
        coverage: float | None = None,
    ) -> Prediction:  # fmt: skip
        """Classifies an image by its features, for those who compute them once for several models.

        Args:
            name: ``path`` of the prediction.
            row: features as the engine gives them, all blocks [W].
            top_k: as of :meth:`predict`.
            min_confidence: the same.
            coverage: the same.

        Raises:
            ModelError: the model has no prediction sets of this coverage.
        """
        from tlcli.evaluation.thresholds import decided  # noqa: PLC0415 - see the module

        threshold = self._threshold(coverage)
        bundle, reference, decision = self.bundle, self.bundle.reference, self.bundle.thresholds
        found = bundle.head.probabilities(bundle.blocks.take(row, bundle.inputs)[None])
        probabilities = tuple(float(p) for p in found[0])
        best = int(decided(found, decision)[0])
        order = sorted(range(len(probabilities)), key=lambda number: (number != best, -probabilities[number]))
        ranked = [(self.labels[number], probabilities[number]) for number in order]
        label, probability = ranked[0]
        last = bundle.blocks.take(row, bundle.blocks.last)
        distance = 1 - float(reference.similarities(last[None]).max())
        refusal = UNSURE if probability < min_confidence else None
        if distance > reference.limit:
            refusal = NONE_OF_THESE
        members = None
        if threshold is not None:
            members = tuple(one for rank, (one, p) in enumerate(ranked) if rank == 0 or p >= threshold)
        return Prediction(
            name, label, probability, tuple(ranked[:top_k]), probabilities, refusal, distance, prediction_set=members,
            threshold=decision.of_classes[best] if decision else None,
        )  # fmt: skip


def _load_if_cached(
    folder: Path, manifest: BundleManifest, compiled: CompiledGraph | None, few: bool, progress: Progress
) -> "LoadedGraph | None":
    """The graph where the cache has it compiled, so that nothing is downloaded, converted or compiled."""
    if compiled is None or not compiled.is_cached:
        return None
    from tlcli.engines.openvino import has_bf16  # noqa: PLC0415 - see the module

    if compiled.precision == "bf16" and not has_bf16():
        return None
    return load_backbone(folder, manifest, compiled, few, progress)


def _name(image: "Image", number: int) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {number}"


def _item(image: "Image") -> "Item":
    from tlcli.images.items import Item  # noqa: PLC0415 - NumPy

    if isinstance(image, str | os.PathLike) and not isinstance(image, Path):  # an address of a store stays one
        image = Path(image)
    return Item(image)
