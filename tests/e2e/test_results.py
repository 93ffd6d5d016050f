"""Names and numbers through the whole program: a rare class, one without test images, names that are columns."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import Tlcli

COUNTS = {"train": {"label": 24, "猫": 6, "two\nlines": 6}, "val": {"label": 6, "猫": 2}, "test": {"label": 6, "猫": 2}}


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Noise of another level for each class, a README, and images in no class folder."""
    random = np.random.default_rng(0)
    for split, counts in COUNTS.items():
        for number, (label, count) in enumerate(counts.items()):
            (tmp_path / "odd" / split / label).mkdir(parents=True)
            for image in range(count):
                pixels = np.clip(random.normal(60 + 70 * number, 20, (40, 40, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "odd" / split / label / f"{image}.png")
    (tmp_path / "odd" / "README.md").write_text("text")
    (tmp_path / "odd.yaml").write_text(
        "dataset:\n  path: odd\nimage:\n  size: 32\nbackbone:\n  name: mobilenet_v2\n  weights: random\n"
        "head:\n  Cs: [1]\n"
    )
    return tmp_path


def test_what_is_odd_about_data_is_said_and_recorded(odd: Path, tlcli: Tlcli) -> None:
    trained = tlcli("train", "--config", "odd.yaml", "--json")
    assert trained.code == 0, trained.err
    document = trained.json()
    assert [one["count"] for one in document["left_out"]] == [1]
    assert trained.err.count("README.md") == 1  # said once
    assert trained.err.count("unequal") == 1
    assert "Glyph" not in trained.err
    run = Path(document["run_dir"])
    record = json.loads((run / "run.json").read_text())
    assert record["reading"] == {"notes": document["notes"], "left_out": document["left_out"]}
    assert record["none_of_these"] == document["none_of_these"]
    evaluated = tlcli("evaluate", "--json")
    assert evaluated.code == 0, evaluated.err
    test = evaluated.json()["test"]
    assert test["never_measured"] == ["two\nlines"]
    assert test["per_class"]["two\nlines"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    page = (run / "report.html").read_text()
    for text in ("README.md", "were never measured", "Balanced accuracy"):
        assert text in page
    images = sorted(str(path.relative_to(odd)) for path in (odd / "odd" / "test").rglob("*.png"))
    predicted = tlcli("predict", *images, "--csv", "t.csv", "--json")
    assert predicted.code == 0, predicted.err
    with (odd / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, one in zip(rows, predicted.json(), strict=True):
        assert (row["path"], row["label"], row["distance"]) == (one["path"], one["label"], str(one["distance"]))
        shares = [float(row[column]) for column in ("label (class)", "two\nlines", "猫")]
        assert sum(shares) == pytest.approx(1)
        assert max(shares) == one["probability"]
        assert 0 <= one["distance"] <= 2


def test_inspect_says_how_the_data_was_read(odd: Path, tlcli: Tlcli) -> None:
    inspected = tlcli("inspect", "--config", "odd.yaml", "--json")
    assert inspected.code == 0, inspected.err
    document = inspected.json()
    assert [one["count"] for one in document["left_out"]] == [1]
    assert inspected.err.count("README.md") == 1
    assert inspected.err.count("unequal") == 1
    page = Path(document["page"]) if Path(document["page"]).is_absolute() else odd / document["page"]
    assert page.read_text().count("README.md") == 1
