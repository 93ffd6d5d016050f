"""Export: a run's model, or several on one backbone, as artefacts for other runtimes, checked against the Predictor."""

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import tlcli
from tlcli.backbones.conversion import graph_folder
from tlcli.backbones.graph import ConvertedGraph, QuantizationInputs
from tlcli.backbones.licences import LICENCES
from tlcli.backbones.quantization import find_quantized_graph, quantize
from tlcli.config.build_run import OpenedRun, readable_training_images
from tlcli.errors import DataError, ModelError, ResourceError, UsageError
from tlcli.export.card import CardBackbone, CardRun, labels_file, model_card
from tlcli.export.formats import InputKind, Wanted, wanted_artefacts
from tlcli.export.heads import ExportedHead, head_names
from tlcli.export.images import ParityImage, parity_images
from tlcli.export.record import (
    Artefact,
    PreparationCheck,
    Sample,
    export_document,
    head_document,
    preparation_document,
)
from tlcli.export.reference import Expected, check_preparation, expected_answers
from tlcli.export.resizing import check_resizing
from tlcli.export.writing import Source, check_artefact, move_into_place, write_artefacts
from tlcli.features.key import preparation_digest
from tlcli.features.sample import decoded, stratified
from tlcli.model.backbone import converted_backbone, found_backbone
from tlcli.progress import SILENT, Progress
from tlcli.runs.contents import RunImages, data_root
from tlcli.runs.files import write_json
from tlcli.runs.images import read_images
from tlcli.runs.records import read_metrics
from tlcli.system.files import disk_problem, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CALIBRATION = 300
"""Images that a quantised backbone is calibrated with."""


@dataclass(frozen=True)
class Exported:
    """An export that was written and checked."""

    folder: Path
    artefacts: tuple[Artefact, ...]
    prepared: PreparationCheck
    """How check.prepare agrees with the decoder of training."""
    heads: tuple[ExportedHead, ...]
    input_kind: InputKind


def export(
    runs: Sequence[Path],
    formats: Sequence[str],
    precisions: Sequence[str],
    output: Path,
    images: int = 100,
    input_kind: InputKind = "resized",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Exported:
    """Exports the model of a run, or the heads of several runs on one backbone as one graph with several outputs.

    Args:
        runs: their directories.
        formats: openvino, onnx, saved_model, keras, tflite.
        precisions: f32, f16, int8, each for all formats.
        output: the folder, which appears when everything in it is checked.
        images: of the runs, that the artefacts are checked with.
        input_kind: of which size images are given: that of the network, or any.
        overwrite: replace an earlier export.
        progress: receives the stages.

    Raises:
        UsageError: a combination that does not exist, or ``output`` is taken.
        ModelError: a run is damaged, cannot be exported so, or an artefact answers otherwise than the trained model.
        DataError: no image of the runs is left to check with.
    """
    wanted, target = wanted_artefacts(formats, precisions, input_kind), output.resolve()
    _check_output(output, overwrite)
    opened = [OpenedRun.open(run) for run in runs]
    _check_exportable(opened, wanted)
    bundles = [one.bundle for one in opened]
    if input_kind == "any":
        check_resizing(bundles[0].preparation)
    names = head_names([one.folder for one in opened], [one.record.name for one in opened])
    heads = tuple(ExportedHead.of(bundle, name) for bundle, name in zip(bundles, names, strict=True))
    chosen = _images(opened, images)
    graph = converted_backbone(bundles[0].folder, bundles[0].manifest, progress)
    with progress.stage("Asking the trained model", len(chosen), "images"):
        expected = expected_answers(graph, bundles, chosen, input_kind == "any")
    source = _source(opened[0], heads, graph, input_kind, progress)
    with _staging(target) as staging, TemporaryDirectory(prefix="tlcli-") as work:
        with progress.stage(f"Writing {', '.join(dict.fromkeys(one.format.name for one in wanted))}"):
            write_artefacts(source, wanted, staging, Path(work))
        artefacts = []
        with progress.stage("Checking", len(wanted), "artefacts"):
            for one in wanted:
                artefacts.append(check_artefact(one, heads, expected, staging, Path(work)))
                progress.advance()
        prepared = _describe(opened, heads, source, expected, artefacts, staging)
        move_into_place(staging, target)
    return Exported(output, tuple(artefacts), prepared, heads, input_kind)


def _check_output(output: Path, overwrite: bool) -> None:
    is_export = (output / "export.json").is_file()
    if output.exists() and not (is_export and overwrite) and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(
            "usage.export_exists",
            f"{output} exists{'' if is_export else ' and is no export'}.",
            "Add --overwrite to replace it." if is_export else "Give a new folder to --output.",
        )


def _check_exportable(runs: Sequence[OpenedRun], wanted: Sequence[Wanted]) -> None:
    first = runs[0].bundle.manifest
    for run in runs:
        manifest = run.bundle.manifest
        if manifest.preparation.tiles is not None:
            raise ModelError(
                "model.export_tiles", f"The model of {run.folder} cuts images into tiles, which no artefact does.",
                "Train without image.tiles, or use the Python API: tlcli.load(run).predict(images).",
            )  # fmt: skip
        ours, theirs = ((one.backbone.name, one.backbone.weights_sha256, one.backbone.layout, one.backbone.tail_sha256,
                         one.preparation) for one in (first, manifest))  # fmt: skip
        if ours != theirs:
            raise ModelError(
                "model.export_backbones_differ",
                f"{runs[0].folder} and {run.folder} have other backbones, weights or preparation of images, so they "
                "share no graph.",
                "Export each by a command of its own.",
            )
    if first.backbone.own is not None and any(one.format.is_from_keras for one in wanted):
        raise ModelError(
            "model.export_own_network",
            f"{', '.join(dict.fromkeys(one.format.name for one in wanted if one.format.is_from_keras))} cannot be "
            "written of a network of backbone.path, of which there is no Keras model.",
            "Set --format openvino.",
        )


def _images(runs: Sequence[OpenedRun], count: int) -> list[ParityImage]:
    of_runs = list[list[ParityImage]]()
    for run in runs:
        recorded = read_images(run.folder, run.record.data_digest)
        images = RunImages(data_root(run.record), recorded)
        of_runs.append(parity_images(images, recorded, count, run.bundle.preparation))
    turns = (one for turn in itertools.zip_longest(*of_runs) for one in turn if one is not None)
    found = list({one.recorded.sha256: one for one in turns}.values())[:count]  # runs may share images
    if not found:
        raise DataError(
            "data.export_no_images",
            f"None of the run's images is left in {runs[0].record.data_root}, and an artefact is checked with them.",
            "Restore the images there.",
        )
    return found


def _source(
    run: OpenedRun, heads: tuple[ExportedHead, ...], graph: ConvertedGraph, input_kind: InputKind, progress: Progress
) -> Source:  # fmt: skip
    bundle = run.bundle
    return Source(
        heads,
        bundle.blocks,
        bundle.preparation,
        input_kind,
        graph.xml,
        cache(partial(_quantized, run, graph, progress)),
        cache(partial(found_backbone, bundle.folder, bundle.manifest, progress)),
    )


def _quantized(run: OpenedRun, graph: ConvertedGraph, progress: Progress) -> Path:
    """The run's own quantised backbone where it has one, else a new one."""
    bundle = run.bundle
    if bundle.manifest.backbone.quantized:
        own = find_quantized_graph(bundle.row, bundle.manifest.backbone.quantized.graph_sha256)
        if own:
            return own.graph.xml
    arrays = _calibration(run)
    spec = found_backbone(bundle.folder, bundle.manifest, progress)
    inputs = QuantizationInputs(graph_folder(spec).name, preparation_digest(bundle.preparation), _CALIBRATION)
    return quantize(bundle.row, inputs, graph, arrays, progress).graph.xml


def _calibration(run: OpenedRun) -> "dict[str, NDArray[np.uint8]]":
    """Training images that are still there, prepared, by their digests."""
    recorded = read_images(run.folder, run.record.data_digest)
    training = stratified(readable_training_images(run, recorded), "calibration")
    arrays = decoded(training, _CALIBRATION, run.bundle.preparation)
    if not arrays:
        raise DataError(
            "data.no_calibration_images", "Quantisation needs readable training images, and there are none.",
            "Restore the images, or leave int8 out.",
        )  # fmt: skip
    return arrays


@contextmanager
def _staging(output: Path) -> Iterator[Path]:
    """A folder beside the export, on the same disk."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        place = TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise disk_problem(error, output) or ResourceError(
            "resource.export_not_written",
            f"The export {output} cannot be written: {error.strerror or error}.",
            "Give another folder to --output.",
        ) from error
    with place as folder:
        staging = Path(folder, "export")
        staging.mkdir()
        yield staging


def _describe(
    runs: Sequence[OpenedRun], heads: Sequence[ExportedHead], source: Source, expected: Expected,
    artefacts: Sequence[Artefact], folder: Path,
) -> PreparationCheck:  # fmt: skip
    """Writes everything beside the artefacts."""
    how = preparation_document(source.preparation, source.input_kind)
    prepared = check_preparation(expected, source.preparation, how)
    sample = _write_sample(expected, folder)
    for head in heads:
        write_text(folder / labels_file(head), "".join(f"{' '.join(label.split())}\n" for label in head.labels))
    program = resources.files("tlcli.export").joinpath("check.py").read_text(encoding="utf-8")
    write_text(folder / "check.py", program)
    backbone = _card_backbone(runs[0])
    about = {
        "tlcli_version": tlcli.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "backbone": {
            **asdict(backbone),
            "weights_sha256": runs[0].bundle.manifest.backbone.weights_sha256,
            "tail_sha256": runs[0].bundle.manifest.backbone.tail_sha256,
        },
    }
    documents = [head_document(head, _about_run(run)) for head, run in zip(heads, runs, strict=True)]
    write_json(folder / "export.json", export_document(artefacts, documents, how, sample, prepared, about))
    cards = [_card_run(run, head) for run, head in zip(runs, heads, strict=True)]
    card = model_card(cards, backbone, source.preparation, source.input_kind == "any", artefacts, prepared)
    write_text(folder / "README.md", card)
    return prepared


def _write_sample(expected: Expected, folder: Path) -> Sample:
    number = expected.sample
    image = expected.images[number]
    pixels = expected.pixels[number] if expected.whole is None else expected.whole[number]
    Image.fromarray(pixels).save(folder / "sample.png")
    np.save(folder / "sample.npy", pixels[np.newaxis])
    answers = tuple(
        {
            "answer": of_head[number].answer,
            "probabilities": list(of_head[number].probabilities),
            "distance": of_head[number].distance,
        }
        for of_head in expected.predictions
    )
    return Sample(image.recorded.path, image.recorded.label, answers)


def _about_run(run: OpenedRun) -> dict[str, object]:
    record, manifest = run.record, run.bundle.manifest
    return {
        "run": run.folder.name,
        "config": record.config,
        "data_digest": record.data_digest,
        "head_sha256": manifest.head_sha256,
        "coverage_thresholds": manifest.coverage_thresholds,
        "metrics": {
            split: {"images": one.n, "accuracy": one.accuracy, "accuracy_ci95": list(one.accuracy_ci95), **one.scores}
            for split, one in read_metrics(run.folder).items()
        },
    }


def _card_backbone(run: OpenedRun) -> CardBackbone:
    record = run.bundle.manifest.backbone
    spdx, licence = "other", "that of their file"
    if record.weights == "imagenet" and record.name in LICENCES:
        spdx = LICENCES[record.name].spdx.lower()
        licence = f"{LICENCES[record.name].spdx} ({LICENCES[record.name].origin})"
    elif record.weights == "random":
        licence = "none, they are random"
    named = record.weights if record.weights in ("imagenet", "random") else Path(record.weights).name
    return CardBackbone(record.name, named, spdx, licence, record.tail_sha256 is not None)


def _card_run(run: OpenedRun, head: ExportedHead) -> CardRun:
    dataset = run.config.dataset
    return CardRun(
        head, head.name or Path(run.record.config).stem, run.record.images, read_metrics(run.folder),
        dataset.licence, dataset.citation,
    )  # fmt: skip


def as_json(exported: Exported) -> dict[str, object]:
    """What ``--json`` prints: export.json with the folder."""
    found: dict[str, object] = json.loads((exported.folder / "export.json").read_text(encoding="utf-8"))
    return {"folder": str(exported.folder), **found}
