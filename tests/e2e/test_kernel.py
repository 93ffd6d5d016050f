"""A kernel head from end to end: what train measured is what the saved model gives."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.conftest import Tlcli

from tlcli.model.predictor import Predictor

pytestmark = pytest.mark.e2e


def test_a_kernel_head_is_saved_as_it_was_fitted(
    shapes: Path, tlcli: Tlcli, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(session_cache))  # of the predictor, which else converts the backbone again
    given = ("--config", "shapes.yaml", "--set", "head.fit=kernel", "--set", "evaluate.cross_validation=null")
    done = tlcli("train", *given, "--set", "evaluate.figures=false", "--json")
    assert done.code == 0, done.err
    trained = done.json()["metrics"]
    assert trained["train"]["accuracy"] > 0.9
    done = tlcli("evaluate", "--json")
    assert done.code == 0, done.err
    for split in ("train", "validation"):
        for name in ("accuracy", "log_loss"):
            assert done.json()[split][name] == pytest.approx(trained[split][name], abs=1e-5)
    run = shapes / "runs" / "shapes" / "latest"
    manifest = json.loads((run / "model" / "manifest.json").read_text())
    assert manifest["gamma"] > 0
    images = sorted((shapes / "shapes").rglob("*.png"))
    predictor = Predictor.load(run)
    answers = predictor.predict(images)
    assert np.mean([one.label == path.parent.name for one, path in zip(answers, images, strict=True)]) > 0.9
    (explained,) = predictor.explain(images[:1])
    assert explained is not None
    assert explained.evidence is None
    assert len(explained.neighbours) == 5
