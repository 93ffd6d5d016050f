"""Fine-tunes the last blocks of a backbone on stored activations, or all of it on images, in a process of its own.

Shapes: N rows (images in all their views), D features that the head takes, U output units.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tlcli.backbones.own_process import run_module
from tlcli.backbones.spec import BackboneSpec
from tlcli.features.key import preparation_digest
from tlcli.finetuning.checkpoints import best_of
from tlcli.finetuning.recipe import Recipe
from tlcli.finetuning.request import (
    ANSWERS,
    HEAD_FILE,
    HELD_OUT_FILE,
    RECORD_FILE,
    ROWS_FILE,
    START_FILE,
    TAIL_FILE,
    Epoch,
    ImageFiles,
    Request,
    StoredMaps,
    Trained,
)
from tlcli.heads.head import Head
from tlcli.heads.standardize import Standardizer
from tlcli.images.augmentation import view_names
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.folders import is_whole, kept
from tlcli.system.cache.locks import alone, mark_in_use
from tlcli.system.cpu import threads
from tlcli.system.files import cache_folder, sha256_file, whole_file, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAINING_VERSION = 4
"""Part of the digest: increase it when a training of the same request gives other weights."""


@dataclass(frozen=True)
class TrainingRows:
    """The images that are trained on; in all their views, where these are stored."""

    keys: Sequence[bytes]
    """[N], of the stored activations, or digests of the images"""
    labels: "NDArray[np.int64]"
    """[N]"""
    weights: "NDArray[np.float32]"
    """[N], of each row's loss"""
    held_out: "NDArray[np.bool_]"
    """[N], those that the learning rate is chosen on; trained on at the end"""
    plain: "NDArray[np.bool_]"
    """[N], without augmentation"""
    scored: "NDArray[np.bool_] | None" = None
    """[N], those that are never trained on, nor is anything chosen by them; None where there are none"""


@dataclass(frozen=True)
class FineTuned:
    """Trained last blocks, or a whole backbone, with their head."""

    tail: Path
    """A safetensors file of the variables that were trained, by their paths in Keras."""
    tail_sha256: str
    head: Head
    """For the features of the fine-tuned backbone; uncalibrated."""
    held_out: "NDArray[np.float64]"
    """Probabilities [n, L] of the plain held-out rows, by the best of the trainings that were not given them"""
    epochs: tuple[Epoch, ...]
    """Of all learning rates that were tried, then of the final training."""
    scored: "NDArray[np.float64]"
    """Probabilities [m, L] of the rows that were never trained on; uncalibrated"""

    def spec(self, frozen: BackboneSpec) -> BackboneSpec:
        """The fine-tuned backbone."""
        return replace(frozen, weights=frozen.weights.tuned(self.tail, self.tail_sha256))

    @property
    def parameters(self) -> int:
        """Numbers that were trained, the head's included."""
        tail = load_file(self.tail)
        return sum(array.size for array in tail.values()) + self.head.trainable_parameters

    @property
    def best(self) -> Epoch | None:
        """The epoch that was chosen on held-out images; 0 is the frozen head. None where none were held out."""
        return best_of(self.epochs)


def fine_tune(
    spec: BackboneSpec, blocks: Trained, data: StoredMaps | ImageFiles, rows: TrainingRows, head: Head,
    part_head: Head, standardizer: Standardizer, inputs: Sequence[str], recipe: Recipe,
    progress: Progress = SILENT, on_epoch: Callable[[Epoch], None] = lambda _: None, accepts_cost: bool = True,
) -> FineTuned:  # fmt: skip
    """Trains the last blocks, or all, and the head, or takes what an equal training gave; one that was ended goes on.

    Args:
        spec: the frozen backbone.
        blocks: how many of the last blocks are trained, or all.
        data: what a row is read from.
        rows: what is trained on.
        head: the frozen one, on the features of the frozen backbone, which training starts from.
        part_head: the same, fitted without the held-out images.
        standardizer: of these features.
        inputs: names of the blocks of features that the head takes.
        recipe: how.
        progress: receives an epoch a step.
        on_epoch: called after each; what it raises ends the training, which goes on from there another time.
        accepts_cost: train on a CPU, too, what takes long there.

    Raises:
        DataError: an image changed.
        ModelError: the process failed.
        ResourceError: the disk is full.
        UsageError: training diverged at every learning rate, or the cost is not accepted.
    """
    arrays: dict[str, dict[str, NDArray[Any]]] = {
        ROWS_FILE: {
            "keys": np.frombuffer(b"".join(rows.keys), np.uint8).reshape(len(rows.keys), -1),
            "labels": rows.labels, "weights": rows.weights, "held_out": rows.held_out, "plain": rows.plain,
        },
        START_FILE: {
            "weights": head.weights, "bias": head.bias, "part_weights": part_head.weights,
            "part_bias": part_head.bias, "mean": standardizer.mean, "scale": standardizer.scale,
        },
    }  # fmt: skip
    if rows.scored is not None:  # trainings without such rows keep their digest
        arrays[ROWS_FILE]["scored"] = rows.scored
    request = Request(
        spec.row.name, spec.weights.layout, spec.size, str(spec.weights.file), blocks, data, tuple(inputs), "",
        threads(), recipe, accepts_cost,
    )  # fmt: skip
    folder = cache_folder() / "finetuned" / f"{spec.row.name}-{_digest(request, spec, arrays)[:16]}"

    def told(line: str) -> None:
        progress.advance()
        if line.startswith("{"):  # not what a library prints
            on_epoch(Epoch(**json.loads(line)))

    def write(staging: Path) -> None:
        work = folder.with_name(f"{folder.name}.work")
        mark_in_use(work)
        work.mkdir(parents=True, exist_ok=True)
        for name, of_file in arrays.items():
            with whole_file(work / name) as temporary:
                save_file({key: np.ascontiguousarray(array) for key, array in of_file.items()}, temporary)
        write_text(work / "request.json", json.dumps(asdict(replace(request, folder=str(work)))))
        epochs = (recipe.epochs + 1) * (len(recipe.learning_rates) + 1)  # at most, with the starts
        with progress.stage("Fine-tuning", epochs, "epochs"):
            run_module(
                "tlcli.finetuning.training", {"file": str(work / "request.json"), "out": str(work)},
                {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}, f"Fine-tuning {spec.row.name}",
                on_line=told,
            )  # fmt: skip
        for name in ANSWERS:
            (work / name).replace(staging / name)
        shutil.rmtree(work, ignore_errors=True)

    mark_in_use(folder)
    with alone(folder):  # two trainings would share the checkpoints
        found = folder if is_whole(folder, ANSWERS) else kept(folder, write, ANSWERS, progress)
    of_head = load_file(found / HEAD_FILE)
    epochs = tuple(Epoch(**one) for one in json.loads((found / RECORD_FILE).read_text()))
    tail = found / TAIL_FILE
    kept_rows = load_file(found / HELD_OUT_FILE)
    held_out = kept_rows["probabilities"]
    scored = kept_rows.get("scored", held_out[:0])  # older answers have none
    tuned = Head(of_head["weights"], of_head["bias"], typical=standardizer.mean)
    return FineTuned(tail, sha256_file(tail), tuned, held_out, epochs, scored)


def _digest(request: Request, spec: BackboneSpec, arrays: "dict[str, dict[str, NDArray[Any]]]") -> str:
    """Of everything that the answer depends on; the places of weights and images are not part of it."""
    versions = [TRAINING_VERSION, *(metadata.version(name) for name in ("keras", "tensorflow"))]
    fields = {**asdict(request), "weights": spec.weights.sha256, "accepts_cost": True}
    if isinstance(request.data, ImageFiles):
        views = view_names(1, request.data.augmentation)
        network = [*spec.row.identity, asdict(spec.row.scaling), asdict(spec.row.stages)]
        fields["data"] = [views, preparation_digest(request.data.preparation), network]
    found = hashlib.sha256(json.dumps([versions, fields], sort_keys=True).encode())
    for of_file in arrays.values():
        for name, array in of_file.items():
            found.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
