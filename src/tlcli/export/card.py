"""The model card of an export: README.md, with the front matter that Hugging Face reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.split_metrics import Metrics
from tlcli.export.formats import FormatName
from tlcli.export.heads import ExportedHead
from tlcli.export.parity import MAX_DIFFERENCE
from tlcli.export.record import Artefact, PreparationCheck
from tlcli.images.preparation import Preparation
from tlcli.system.files import format_size

_LISTED = 30
"""Classes in the tables."""
_OPEN: dict[FormatName, tuple[str, str]] = {
    "openvino": (
        "import openvino",
        'model = openvino.Core().compile_model("{path}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})\n'
        "outputs = model(image).to_dict()\n"
        "outputs = {{output.get_any_name(): array for output, array in outputs.items()}}",
    ),
    "onnx": (
        "import onnxruntime",
        'session = onnxruntime.InferenceSession("{path}")\n'
        'outputs = dict(zip([one.name for one in session.get_outputs()], session.run(None, {{"image": image}})))',
    ),
    "saved_model": (
        "import tensorflow as tf",
        'model = tf.saved_model.load("{path}")\n'
        'outputs = {{name: one.numpy() for name, one in model.signatures["serving_default"](image=tf.constant(image))'
        ".items()}}",
    ),
    "keras": (
        "import keras",
        'model = keras.models.load_model("{path}")\noutputs = model.predict(image, verbose=0)',
    ),
    "tflite": (
        "from ai_edge_litert.interpreter import Interpreter",
        'run = Interpreter("{path}").get_signature_runner()\noutputs = run(image=image)',
    ),
}


@dataclass(frozen=True)
class CardRun:
    """What the card says of a run."""

    head: ExportedHead
    name: str
    """Of its config."""
    images: Mapping[SplitName, Mapping[str, int]]
    """Split -> class -> number of images."""
    metrics: Mapping[SplitName, Metrics]
    """By split; test where it was evaluated."""
    data_licence: str | None
    citation: str | None


@dataclass(frozen=True)
class CardBackbone:
    """What the card says of the network."""

    name: str
    weights: str
    spdx: str
    """Identifier of the licence, in small letters as Hugging Face has it; ``other`` where it is not known."""
    licence: str
    is_finetuned: bool


def code_lines(artefact: Artefact, head: ExportedHead) -> str:
    """A program of a few lines that prints the class of sample.png, run in the folder of the export."""
    first, run = _OPEN[artefact.wanted.format.name]
    scores = f'outputs["{head.output("probabilities")}"]'
    if head.thresholds:
        scores = f"({scores} / {json.dumps([round(one, 9) for one in head.thresholds])})"
    return (
        f"{first}\nfrom check import prepare\n"
        'image = prepare("sample.png")\n'
        f"{run.format(path=artefact.wanted.path)}\n"
        f'print(open("{labels_file(head)}", encoding="utf-8").read().splitlines()[{scores}[0].argmax()])'
    )


def labels_file(head: ExportedHead) -> str:
    """The file of a head's classes, one a line."""
    return f"labels-{head.name}.txt" if head.name else "labels.txt"


def model_card(
    runs: Sequence[CardRun], backbone: CardBackbone, preparation: Preparation, takes_any: bool,
    artefacts: Sequence[Artefact], prepared: PreparationCheck,
) -> str:  # fmt: skip
    """Writes the card.

    Args:
        runs: the heads and what is known of them.
        backbone: their network.
        preparation: of the images.
        takes_any: the artefacts resize images themselves.
        artefacts: what was written.
        prepared: how check.prepare agrees with the decoder of training.
    """
    tags = ["tlcli", *dict.fromkeys(one.wanted.format.name for one in artefacts)]
    parts = [
        "---",
        "pipeline_tag: image-classification",
        f"license: {backbone.spdx}",
        f"tags: {json.dumps(tags)}",
        "---",
        "",
        f"# {', '.join(one.name for one in runs)}",
        "",
        f"Image classifier: {backbone.name} ({backbone.weights} weights"
        f"{', last blocks fine-tuned' if backbone.is_finetuned else ', frozen'}) with "
        f"{'a head' if len(runs) == 1 else f'{len(runs)} heads'} trained by tlcli.",
        "",
        "## Use it",
        "",
        *_input(preparation, takes_any, prepared),
        "",
        "Check it where it will run, with nothing but its runtime and NumPy: `python check.py`.",
    ]
    for one in artefacts:
        parts += ["", f"`pip install {one.wanted.format.runtime} pillow`, {one.wanted.folder}:", "", "```python",
                  code_lines(one, runs[0].head), "```"]  # fmt: skip
    parts += ["", "Outputs, for N images: `features` [N, F] of the network's last layer, and", ""]
    for run in runs:
        head = run.head
        rule = "the class whose probability is the largest multiple of its threshold" if head.thresholds else (
            "the most probable class")  # fmt: skip
        parts.append(
            f"- `{head.output('probabilities')}` [N, {len(head.labels)}] of {_classes(head.labels)}, calibrated; the "
            f"answer is {rule}."
        )
        if head.thresholds:
            listed = [f"{_md(label)} {value:.4g}" for label, value in zip(head.labels, head.thresholds, strict=True)]
            parts.append(f"  Thresholds: {', '.join(listed[:_LISTED])}{', ...' if len(listed) > _LISTED else ''}.")
        parts.append(
            f"- `{head.output('distance')}` [N, 1] from the nearest training image (cosine distance of features): "
            f'above {head.limit:.4g} the answer is "none of these".'
        )
    parts += ["", "## Artefacts", "", *artefact_table(artefacts)]
    for run in runs:
        parts += ["", f"## Data and metrics: {run.name}", "", *_data(run), "", *_metrics(run)]
    parts += ["", "## Limits", "", *_limits(runs), "", "## Licence", "", *_licence(runs, backbone)]
    return "\n".join(parts) + "\n"


def artefact_table(artefacts: Sequence[Artefact]) -> list[str]:
    """Size, agreement and latency of each artefact, as a Markdown table."""
    lines = [
        "| artefact | size | same class | largest, mean difference of a probability | ms an image, 1 core: p50, p95 | all cores: p50, p95 |",  # noqa: E501
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in artefacts:
        worst = min(one.parity.values(), key=lambda parity: (parity.agreement, -parity.max_difference))
        cells = [f"{found.p50:.1f}, {found.p95:.1f}" if (found := one.latency.get(cores)) else "-"
                 for cores in ("1", "all")]  # fmt: skip
        lines.append(
            f"| {one.wanted.folder} | {format_size(one.size)} | {worst.same_class} of {worst.images} | "
            f"{worst.max_difference:.1e}, {worst.mean_difference:.1e} | {' | '.join(cells)} |"
        )
    return lines


def _input(preparation: Preparation, takes_any: bool, prepared: PreparationCheck) -> list[str]:
    height, width = preparation.size
    if takes_any:
        return ["Input `image`: uint8 [N, H, W, 3], RGB, upright, of any size; resizing is inside."]
    way = {
        "squash": "distorted to the whole of it",
        "crop": f"the centre, {preparation.crop_fraction:g} of the shorter side",
        "pad": f"whole, the rest filled with {preparation.background}",
    }[preparation.resize]
    other = prepared.images - prepared.equal - prepared.unreadable
    text = (
        f"Input `image`: uint8 [N, {height}, {width}, 3], RGB, upright, resized ({way}; Pillow's "
        f"{preparation.interpolation}). Scaling and everything after it are inside. `check.prepare(file)` does it; of "
        f"{prepared.images} images of the data set {prepared.equal} become the same pixels as in training"
    )
    if other:
        text += f", {other} differ by at most {prepared.max_levels} of 255 levels"
    if prepared.unreadable:
        text += f", {prepared.unreadable} are of a kind that only tlcli reads"
    if preparation.levels or preparation.bands:
        text += ". Images of more than 8 bits or with chosen bands must be turned into RGB as export.json says"
    return [text + "."]


def _classes(labels: Sequence[str]) -> str:
    listed = ", ".join(map(_md, labels[:_LISTED]))
    return f"{listed}{f' and {len(labels) - _LISTED} more' if len(labels) > _LISTED else ''}"


def _md(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _data(run: CardRun) -> list[str]:
    splits = list(run.images)
    lines = ["| class | " + " | ".join(f"{split} images" for split in splits) + " |",
             "| --- |" + " --- |" * len(splits)]  # fmt: skip
    lines += [
        f"| {_md(label)} | " + " | ".join(f"{run.images[split].get(label, 0):,}" for split in splits) + " |"
        for label in run.head.labels[:_LISTED]
    ]
    return lines


def _metrics(run: CardRun) -> list[str]:
    lines = ["| split | images | accuracy (95 % interval) | balanced accuracy | log loss | ROC-AUC |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for split, found in run.metrics.items():
        low, high = found.accuracy_ci95
        others = [found.scores.get(name) for name in ("balanced_accuracy", "log_loss", "roc_auc")]
        lines.append(
            f"| {split} | {found.n:,} | {found.accuracy:.4f} ({low:.4f} to {high:.4f}) | "
            + " | ".join("-" if one is None else f"{one:.4f}" for one in others) + " |"
        )  # fmt: skip
    if "test" not in run.metrics:
        lines += ["", "It was not measured on test images."]
    return lines


def _limits(runs: Sequence[CardRun]) -> list[str]:
    lines = [
        "- It knows these classes only. An image of anything else gets one of them, or \"none of these\" where it is "
        "unlike all training images; about 1 % of images that do belong to a class get that, too.",
        "- The metrics hold for images like those of the data set: other cameras, places or times may be worse.",
        "- Probabilities are calibrated on such images, with the share of each class that they have.",
        f"- Artefacts of f32 give the probabilities of the trained model to {MAX_DIFFERENCE:g}; f16 and int8 the same "
        "class for the share of images in the table above.",
    ]  # fmt: skip
    for run in runs:
        never = [label for label in run.head.labels if not run.images.get("test", {}).get(label)]
        if never and "test" in run.metrics:
            lines.append(f"- Never measured on test images: {_classes(never)}.")
    return lines


def _licence(runs: Sequence[CardRun], backbone: CardBackbone) -> list[str]:
    lines = [f"- Weights of {backbone.name}: {backbone.licence}."]
    for run in runs:
        cited = f" ({run.citation})" if run.citation else ""
        lines.append(f"- Images of {run.name}: {run.data_licence or 'the config names no licence'}{cited}.")
    return lines
