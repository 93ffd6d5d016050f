"""The Python API: ``tlcli.load``, ``tlcli.train`` and ``tlcli.evaluate``.

Importing it imports nothing heavy; each function imports what it needs when it is called.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlcli.model.predictor import Predictor
    from tlcli.workflows.evaluate import Evaluated
    from tlcli.workflows.train import Trained


def load(run: str | os.PathLike[str] = "runs/latest") -> "Predictor":
    """Loads the trained model of a run.

    Args:
        run: the run's directory, such as ``runs/latest`` or ``runs/solar_cells/20261127T190000Z-1a2b``, or another of
            its names, as ``--run`` takes it.

    Returns:
        A predictor: ``predictor.predict(["a.jpg", "b.jpg"])`` gives a prediction for each image.

    Raises:
        UsageError: there is no such run.
        ModelError: its model is damaged.
        NetworkError: the weights of the backbone are missing on this machine and cannot be downloaded.
    """
    from tlcli.model.predictor import Predictor  # noqa: PLC0415 - importing tlcli stays light
    from tlcli.runs.folders import find_run  # noqa: PLC0415

    return Predictor.load(find_run(Path("runs"), run=Path(run)))


def train(
    config: str | os.PathLike[str],
    overrides: "Mapping[str, object] | None" = None,
    runs_dir: str | os.PathLike[str] = "runs",
    name: str | None = None,
    output: str | os.PathLike[str] | None = None,
    accepts_cost: bool = False,
) -> "Trained":
    """Trains a classifier, as ``tlcli train`` does.

    Args:
        config: the path of a YAML file, or the name of a config that comes with tlcli.
        overrides: config values to set, such as ``{"dataset.path": "images", "train.seed": 1}``.
        runs_dir: where the run's directory is made.
        name: of the run; ``tlcli.load(name)`` finds it.
        output: the run's directory itself, instead of a new one in ``runs_dir``; an earlier run there is replaced.
        accepts_cost: fine-tune on a CPU, whatever it takes: a whole network, or blocks that take more than an hour.

    Returns:
        The run: its directory, metrics of the training and validation images, and the fitted head.

    Raises:
        TlcliError: the config, the images or the backbone are wrong or missing; its ``code`` says what.
    """
    import json  # noqa: PLC0415

    from tlcli.config.load import find_config, load_config  # noqa: PLC0415 - importing tlcli stays light
    from tlcli.system.extras import TRAINING, require  # noqa: PLC0415

    require("train", "tlcli.train", TRAINING)
    from tlcli.workflows.train import train as run  # noqa: PLC0415

    given = [f"{key}={json.dumps(value, default=os.fspath)}" for key, value in (overrides or {}).items()]
    to = None if output is None else Path(output)
    loaded = load_config(find_config(os.fspath(config)), given)
    return run(loaded, Path(runs_dir), name=name, output=to, accepts_cost=accepts_cost)


def evaluate(
    run: str | os.PathLike[str] = "runs/latest", data: str | os.PathLike[str] | None = None,
    fail_under: "Mapping[str, float] | None" = None,
) -> "Evaluated":  # fmt: skip
    """Measures a run on its test images, or on another labelled folder, as ``tlcli evaluate`` does.

    Args:
        run: the run's directory.
        data: a labelled folder: the place that the run's own images have moved to, or an external test set.
        fail_under: limits such as ``{"accuracy": 0.9, "recall.defective": 0.95}``, as ``--fail-under`` takes them.

    Returns:
        The metrics of all splits, and where the report is; of an external test set its result in ``external``;
        in ``gates`` whether each limit was reached.

    Raises:
        TlcliError: the run is missing, or its images have changed; its ``code`` says what.
    """
    from tlcli.system.extras import TRAINING, require  # noqa: PLC0415 - importing tlcli stays light

    require("train", "tlcli.evaluate", TRAINING)
    from tlcli.evaluation.gates import parse_gates  # noqa: PLC0415
    from tlcli.runs.folders import find_run  # noqa: PLC0415
    from tlcli.workflows.evaluate import evaluate as measure  # noqa: PLC0415

    gates = parse_gates(f"{name}={limit}" for name, limit in (fail_under or {}).items())
    found = find_run(Path("runs"), run=Path(run))
    return measure(found, data=None if data is None else Path(data), fail_under=gates)
