"""run.json and metrics.json as typed values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from tlcli.datasets.decisions import ExclusionReason
from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.finetuning_proof import Proof
from tlcli.evaluation.split_metrics import Metrics, from_json, metrics_document
from tlcli.evaluation.transfer_gap import TransferGap
from tlcli.features.int8_record import Agreement
from tlcli.heads.fit_record import FitKind
from tlcli.runs.files import read_json, write_json

if TYPE_CHECKING:
    from tlcli.datasets.index import Index


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Skipped(_Record):
    """An image that was left out."""

    path: str
    """Relative to the data folder."""
    reason: str


class LeftOutFiles(_Record):
    """Files of the data folder that are not used, for one reason."""

    count: int
    reason: str
    """What they are: ``images in no class folder``."""
    example: str = ""


class Reading(_Record):
    """How the data set was read."""

    notes: tuple[str, ...]
    """As fetch, inspect and train print them, one sentence each."""
    left_out: tuple[LeftOutFiles, ...]
    """Unreadable images are in :attr:`RunRecord.skipped`."""


class Filtered(_Record):
    """Images that people's decisions left out or relabelled: :attr:`~tlcli.datasets.index.Index.excluded`."""

    excluded: dict[ExclusionReason, dict[SplitName | Literal["unread"], int]] = {}
    """Reason -> split (unread: the file could not be read) -> number of images. Those for their label are measured on
    like the others."""
    relabelled: dict[SplitName, int] = {}
    """Split -> number of images that are fitted on with another label than the data gives, which is measured by."""

    @property
    def set_aside(self) -> int:
        """Images excluded because of their label."""
        return sum(self.excluded.get("label", {}).values())


class NoneOfThese(_Record):
    """How often predict answers "none of these" for images that belong to one of the classes."""

    limit: float
    """Cosine distance from the nearest reference image above which it does."""
    validation: float
    """Share of the validation images; about 0.01 is expected."""


class FeatureCounts(_Record):
    """Features of a run."""

    computed: int
    """By this run."""
    reused: int
    """From the store."""
    views: int
    """Of each training image, the plain image included."""


class QuantizedBackbone(_Record):
    """The quantised graph of precision int8."""

    graph_sha256: str
    calibration: tuple[str, ...]
    """sha256 of the images it was calibrated on."""


class RunBackbone(_Record):
    """The frozen network."""

    name: str
    weights: str
    """As in the config: imagenet, random or a path."""
    weights_sha256: str
    engine: str
    precision: str
    quantized: QuantizedBackbone | None = None
    """Of precision int8 only."""
    tail_sha256: str | None = None
    """Of a fine-tuned network: digest of its last blocks; ``weights_sha256`` is of the pretrained weights."""


class RunThresholds(_Record):
    """What decides the answers, see :mod:`tlcli.evaluation.thresholds`."""

    objective: str
    """The metric that they were chosen for."""
    of_classes: dict[str, float]
    """By class."""
    source: Literal["out_of_fold", "validation"]
    """The images that they were chosen on: training and validation images, out of fold; or those of validation."""
    images: dict[str, int]
    """How many of each class these are."""


class RunHead(_Record):
    """How the head was fitted."""

    fit: FitKind
    steps: int
    """Lines of history.csv."""
    chosen_step: int
    """The step whose weights the head has, counted from 1; 0 where fine-tuning stayed at its start."""
    C: float | None = None
    """Of logistic regression."""
    temperature: float
    thresholds: RunThresholds | None = None
    """None where the answer is the most probable class."""


class RunFinetuning(_Record):
    """What fine-tuning did and brought."""

    blocks: int | Literal["all"]
    """Last blocks that were trained."""
    views: int | None = None
    """Of each training image, the plain image included; None where every epoch has another one."""
    learning_rate: float
    """Chosen on held-out training images."""
    epochs: int
    """0 where no learning rate ended better than the frozen network, so that nothing was trained."""
    held_out_loss: tuple[float, float] | None = None
    """Log loss of the frozen head on the held-out training images, and the lowest of the learning rates; None where
    none were held out, and in older runs."""
    trained_parameters: int
    """Of the network and the head; of the head alone in :attr:`RunRecord.trainable_parameters`."""
    seconds: float
    """Of all epochs."""
    is_kept: bool
    """Whether the model has the fine-tuned network; else the frozen one."""
    proof: Proof


class RunRecord(_Record):
    """Everything in run.json."""

    status: Literal["complete"] = "complete"
    config: str
    """What --config takes to name the config."""
    config_file: str | None = None
    """Absolute path of the config's file, without links; None for a config that comes with tlcli."""
    config_sha256: str = ""
    """Of its text."""
    overrides: tuple[str, ...] = ()
    """What --set was given."""
    name: str | None = None
    """What --name was given: --run finds the run by it."""
    output: bool = False
    """Whether the run was written to a directory of --output, where the next one replaces it."""
    seconds: dict[str, float]
    """Of each stage of train."""
    images: Annotated[dict[SplitName, dict[str, int]], Field(min_length=1)]
    """Split -> class -> number of images."""
    reading: Reading | None = None
    """None of runs that were trained before this was recorded."""
    filtered: Filtered | None = None
    """None of runs that were trained before this was recorded: missing splits of those were drawn after images were
    excluded."""
    skipped: tuple[Skipped, ...]
    """Images that train left out."""
    skipped_sha256: tuple[str, ...] = ()
    """Of those that train could read but not decode: they are recognised under another name."""
    features: FeatureCounts
    backbone: RunBackbone
    head: RunHead
    finetuning: RunFinetuning | None = None
    """None where the network was not fine-tuned."""
    agreement: Agreement | None = None
    """Of precision int8 with the float precision."""
    none_of_these: NoneOfThese | None = None
    """None of runs that were trained before this was recorded."""
    trainable_parameters: int
    seeds: dict[str, int]
    versions: dict[str, str]
    """Of tlcli, Python and the packages that decide results."""
    data_digest: str
    """:meth:`tlcli.datasets.index.Index.digest` of the images."""
    data_root: str
    """Absolute path of the data folder."""
    skipped_test: tuple[Skipped, ...] = ()
    """Images that evaluate left out."""


_Measured = Annotated[Metrics, BeforeValidator(from_json)]
_RUN = TypeAdapter(RunRecord)


class _MetricsFile(_Record):
    """Everything in metrics.json: the metrics of each split, and what evaluate measured besides."""

    train: _Measured | None = None
    validation: _Measured | None = None
    test: _Measured | None = None
    transfer: TransferGap | None = None
    """Whether pretraining helps; None before evaluate, and where it was not measured."""


_METRICS = TypeAdapter(_MetricsFile)


def skipped_images(bad: Mapping[str, str]) -> tuple[Skipped, ...]:
    """From names and reasons."""
    return tuple(Skipped(path=name, reason=reason) for name, reason in bad.items())


def reading_of(index: "Index") -> Reading:
    """From the notes and the files left out of an index."""
    return Reading(notes=index.notes, left_out=tuple(LeftOutFiles(**asdict(one)) for one in index.left_out))


def filtered_of(index: "Index") -> Filtered:
    """From the decisions on the images of an index."""
    counts = Counter((one.reason, one.split or "unread") for one in index.excluded)
    excluded: dict[ExclusionReason, dict[SplitName | Literal["unread"], int]] = {}
    for (reason, split), count in sorted(counts.items()):
        excluded.setdefault(reason, {})[split] = count
    relabelled = Counter(image.split for image in index.images if image.is_relabelled)
    return Filtered(excluded=excluded, relabelled=dict(sorted(relabelled.items())))


def write_record(run: Path, record: RunRecord) -> None:
    """Writes run.json."""
    write_json(run / "run.json", record.model_dump(exclude_none=True))


def read_record(run: Path) -> RunRecord:
    """Reads run.json.

    Raises:
        ModelError: it is missing or malformed.
    """
    return read_json(run / "run.json", _RUN)


def write_metrics(run: Path, metrics: Mapping[SplitName, Metrics], transfer: TransferGap | None = None) -> None:
    """Writes metrics.json."""
    besides = {} if transfer is None else {"transfer": asdict(transfer)}
    write_json(run / "metrics.json", {**metrics_document(metrics), **besides})


def read_metrics(run: Path) -> dict[SplitName, Metrics]:
    """Reads the splits of metrics.json: train and validation, and test after evaluate.

    Raises:
        ModelError: it is missing or malformed.
    """
    found = read_json(run / "metrics.json", _METRICS)
    splits: dict[SplitName, Metrics | None] = {
        "train": found.train, "validation": found.validation, "test": found.test,
    }  # fmt: skip
    return {split: metrics for split, metrics in splits.items() if metrics is not None}


def read_transfer(run: Path) -> TransferGap | None:
    """Whether pretraining helps, of metrics.json; None where it was not measured.

    Raises:
        ModelError: it is missing or malformed.
    """
    return read_json(run / "metrics.json", _METRICS).transfer
