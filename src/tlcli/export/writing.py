"""Writes the artefacts that are wanted, and checks each in its own runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.spec import BackboneSpec
from tlcli.errors import ModelError
from tlcli.evaluation.thresholds import Thresholds
from tlcli.export.card import labels_file
from tlcli.export.formats import InputKind, Wanted
from tlcli.export.heads import ExportedHead
from tlcli.export.keras_process import write_from_keras
from tlcli.export.model_info import model_info
from tlcli.export.parity import MAX_DIFFERENCE, MIN_AGREEMENT, Answers, Parity, compare
from tlcli.export.record import Artefact, files_below
from tlcli.export.reference import Expected
from tlcli.export.runner import run_artefact, time_artefact
from tlcli.images.preparation import Preparation

_SECONDS = 1.5
"""That each latency is measured."""


@dataclass(frozen=True)
class Source:
    """What artefacts are made from."""

    heads: tuple[ExportedHead, ...]
    blocks: Blocks
    """All blocks of the backbone's features."""
    preparation: Preparation
    input_kind: InputKind
    float_graph: Path
    """model.xml of the converted backbone."""
    quantized_graph: Callable[[], Path]
    """model.xml of the quantised backbone, which is made when it is first asked for."""
    spec: Callable[[], BackboneSpec]
    """The backbone with the file of its weights, for formats that are made from Keras."""

    def info(self) -> dict[str, str]:
        """For Model API: of the first head."""
        return model_info(self.heads[0], self.preparation, self.input_kind)


def write_artefacts(source: Source, wanted: Sequence[Wanted], out: Path, work: Path) -> None:
    """Writes all artefacts below ``out``.

    Args:
        source: of them.
        wanted: which.
        out: the folder of the export.
        work: an existing folder for what is thrown away.

    Raises:
        ModelError: a library failed, or is not installed.
    """
    from tlcli.export.openvino_graph import write_openvino  # noqa: PLC0415 - imports OpenVINO

    for one in wanted:
        if one.format.name == "openvino":
            graph = source.quantized_graph() if one.precision == "int8" else source.float_graph
            resize = source.preparation if source.input_kind == "any" else None
            write_openvino(
                graph, source.blocks, source.heads, one.precision, source.info(), out / one.folder, resize
            )  # fmt: skip
    from_keras = [one for one in wanted if one.format.is_from_keras]
    if from_keras:
        write_from_keras(
            source.spec(), source.heads, from_keras, source.info(), [labels_file(head) for head in source.heads],
            out, work,
        )  # fmt: skip


def check_artefact(one: Wanted, heads: Sequence[ExportedHead], expected: Expected, out: Path, work: Path) -> Artefact:
    """Runs an artefact on the images, and times it.

    Args:
        one: the artefact.
        heads: of it.
        expected: the images and the answers of the trained model.
        out: the folder of the export.
        work: an existing folder for what is thrown away.

    Raises:
        ModelError: it answers otherwise, or does not run.
    """
    kind, path = one.format.name, out / one.path
    images = work / ("images.npy" if expected.whole is None else "images.npz")
    if not images.is_file():
        if expected.whole is None:
            np.save(images, expected.pixels)
        else:
            arrays = {f"{number:06d}": image[np.newaxis] for number, image in enumerate(expected.whole)}
            np.savez(images, **arrays)  # type: ignore[arg-type]
    outputs = run_artefact(kind, path, images, work)
    parity: dict[str, Parity] = {}
    for number, head in enumerate(heads):
        found = Answers(
            outputs[head.output("probabilities")].astype(np.float64),
            outputs[head.output("distance")][:, 0].astype(np.float64),
        )
        thresholds = Thresholds("", head.thresholds) if head.thresholds else None
        parity[head.name] = compare(expected.answers(number), found, head.limit, thresholds)
    _check(one, parity, expected.whole is not None)
    files = files_below(out / one.folder, out)
    size = sum((out / name).stat().st_size for name in files)
    return Artefact(one, files, size, parity, time_artefact(kind, path, images, work, _SECONDS))


def _check(one: Wanted, parity: dict[str, Parity], resizes: bool) -> None:
    for found in parity.values():
        if not found.is_enough(one.precision, resizes):
            least = MIN_AGREEMENT["int8" if resizes else one.precision]
            raise ModelError(
                "model.export_differs",
                f"The {one.folder} artefact gives {found.same_class:,} of {found.images:,} images the class of the "
                f"trained model, probabilities that differ by up to {found.max_difference:.2g} and distances by up to "
                f"{found.max_distance_difference:.2g}; at least {100 * least:.0f} % must agree"
                f"{f', and numbers to {MAX_DIFFERENCE:g}' if one.precision == 'f32' and not resizes else ''}. "
                "Nothing was exported.",
                "Leave this format or precision out."
                if one.precision != "f32"
                else "Leave this format out, and please report it with tlcli doctor.",
            )


def move_into_place(staging: Path, output: Path) -> None:
    """Renames a finished export; an earlier one in its place is replaced, and moved to the folder of ``staging``, which
    the caller removes. An empty folder stays the same, as it may be the current one."""
    if output.is_dir() and not any(output.iterdir()):
        for path in sorted(staging.iterdir(), key=lambda one: one.name == "export.json"):
            path.rename(output / path.name)
        return
    if output.exists():
        output.rename(staging.with_name("replaced"))
    staging.rename(output)
