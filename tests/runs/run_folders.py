"""Run folders as train and evaluate leave them, written by hand: no network, no images."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tlcli.datasets.layout import SplitName
from tlcli.runs.folders import write_csv, write_json

Row = tuple[str, str, str]
"""An image's name (its content is made of it, up to a ``=``), its label, and what the run says."""


def sha(name: str) -> str:
    """Of an image: those whose names are alike up to ``=`` are copies."""
    return hashlib.sha256(name.partition("=")[0].encode()).hexdigest()


def rows(right: Iterable[str], wrong: Iterable[str] = (), label: str = "cat", other: str = "dog") -> list[Row]:
    """Images that are named rightly, and wrongly; each letter of a text is one."""
    return [(name, label, label) for name in right] + [(name, label, other) for name in wrong]


def made_run(
    runs_dir: Path,
    name: str,
    splits: Mapping[SplitName, Sequence[Row]],
    labels: Sequence[str] = ("cat", "dog"),
    config: str = "head:\n  fit: convex\n",
    digest: str = "d",
) -> Path:
    """A complete run; with a test split, an evaluated one."""
    folder = runs_dir / name
    folder.mkdir(parents=True)
    write_json(
        folder / "run.json",
        {
            "status": "complete",
            "config": name.split("/", maxsplit=1)[0],
            "seconds": {"index": 0.5, "features": 1.25},
            "images": {split: {"cat": len(of_split), "dog": 0} for split, of_split in splits.items()},
            "backbone": {"name": "densenet201", "precision": "bf16", "engine": "openvino"},
            "head": {"fit": "convex", "steps": 3},
            "data_digest": digest,
        },
    )
    write_json(folder / "metrics.json", {split: _measured(given, labels) for split, given in splits.items()})
    header = ["path", "sha256", "split", "label", "predicted", *labels]
    table = [(n, sha(n), split, label, said, 0.5, 0.5) for split, given in splits.items() for n, label, said in given]
    write_csv(folder / "predictions.csv", header, table)
    (folder / "config.yaml").write_text(config)
    return folder


def _measured(given: Sequence[Row], labels: Sequence[str]) -> dict[str, object]:
    right = sum(label == said for _, label, said in given)
    share = right / len(given) if given else 0.0
    return {"n": len(given), "accuracy": share, "accuracy_ci95": [share / 2, (1 + share) / 2], "labels": list(labels)}
