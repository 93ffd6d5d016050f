import hashlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.labelled_predictions import Predictions
from tlcli.evaluation.operating_curve import operating_curves
from tlcli.heads.fit_record import Step
from tlcli.images.augmentation import Augmentation, view_names
from tlcli.images.preparation import Preparation
from tlcli.reports import charts, data_charts, fonts
from tlcli.reports import samples as grids
from tlcli.reports.figures import class_names, save_png, styled, svg
from tlcli.reports.thumbnails import evenly

PREPARATION = Preparation((64, 64), "crop")
AUGMENTATION = Augmentation("horizontal", rotation=20, zoom=0.1, shift=0.1, brightness=0.2, contrast=0.2)
LONG = "a class whose name somebody wrote as a whole sentence, with <signs> & $dollars_and^more"
CLASSES = {
    "2": ["alien", "predator"],
    "3": ["cat", "dog", "hare"],
    "25": [f"species {number}" for number in range(25)],
    "long": [LONG, f"{LONG} 2", "x" * 300],
    "odd": ["日本語", "_hidden", "$x_$", "two\nlines"],
    "1000": [f"n{number:08d}" for number in range(1000)],
}
DRAWN = pytest.mark.parametrize("labels", CLASSES.values(), ids=CLASSES.keys())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "figures" / "one.png"


def check(path: Path, figure: Figure) -> Image.Image:
    """Saves and opens the figure: whole, of a size that a screen shows, not empty, the only file in its folder."""
    save_png(figure, path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert 400 <= image.width <= 4000
        assert 300 <= image.height <= 6000
        assert len(image.convert("RGB").getcolors(2**24) or []) > 20
        return image


def images(folder: Path, labels: Sequence[str], each: int) -> list[LabelledImage]:
    """Drawn images: a disc and a bar, another place and colour in each."""
    drawn = []
    folder.mkdir()
    for number, label in enumerate(labels):
        for copy in range(each):
            random = np.random.default_rng([number, copy])
            image = Image.new("RGB", (90, 70), tuple(random.integers(120, 256, 3)))
            draw = ImageDraw.Draw(image)
            x, y = random.integers(5, 50, 2)
            draw.ellipse((x, y, x + 25, y + 25), fill=tuple(random.integers(0, 120, 3)))
            draw.rectangle((2, 2, 20 + 3 * number, 12), fill=(20, 20, 20))
            path = folder / f"{number}-{copy}.png"
            image.save(path)
            sha = hashlib.sha256(path.read_bytes()).hexdigest()
            drawn.append(LabelledImage(path, path.name, sha, label, "train", sha))
    return drawn


def scores(classes: int, n: int = 300) -> tuple[list[int], "np.ndarray[tuple[int, int], np.dtype[np.float64]]"]:
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, n)
    odds = np.exp(random.normal(0, 1, (n, classes)) + 2 * np.eye(classes)[labels])
    return labels.tolist(), odds / odds.sum(axis=1, keepdims=True)


def steps(count: int, Cs: Sequence[float] = ()) -> tuple[Step, ...]:
    return tuple(
        Step(
            step=number + 1,
            loss=0.9 / (number + 1),
            accuracy=1 - 0.4 / (number + 1),
            val_loss=0.3 + 0.7 / (number + 1),
            val_accuracy=0.9 - 0.3 / (number + 1),
            learning_rate=None if Cs else 0.01 * 0.5 ** (number // 8),
            C=Cs[number] if Cs else None,
        )
        for number in range(count)
    )


@DRAWN
def test_class_counts_is_one_readable_png(out: Path, labels: list[str]) -> None:
    counts = {
        split: {label: share * (100 + 7 * (number % 50)) for number, label in enumerate(labels)}
        for split, share in (("train", 8), ("validation", 1), ("test", 0))
    }
    check(out, data_charts.class_counts(counts))


@DRAWN
@pytest.mark.parametrize("each", [1, 7])
def test_samples_is_one_readable_png(out: Path, tmp_path: Path, labels: list[str], each: int) -> None:
    check(out, grids.samples(images(tmp_path / "data", labels[:25], each), labels, PREPARATION))


def test_images_are_picked_evenly() -> None:
    assert evenly(range(11), 6) == [0, 1, 3, 5, 7, 9]
    assert evenly(range(3), 6) == [0, 1, 2]


def test_a_removed_image_is_left_out(out: Path, tmp_path: Path) -> None:
    given = images(tmp_path / "data", ["one", "two"], 3)
    given[0].path.unlink()
    check(out, grids.samples(given, ["one", "two"], PREPARATION))


@pytest.mark.parametrize(("count", "views"), [(1, 1), (2, 3), (40, 8)])
def test_augmented_is_one_readable_png(out: Path, tmp_path: Path, count: int, views: int) -> None:
    shown = images(tmp_path / "data", ["one"], count)
    check(out, grids.augmented(shown, view_names(views, AUGMENTATION), PREPARATION, AUGMENTATION))


@pytest.mark.parametrize("epochs", [1, 2, 30, 500])
def test_history_of_epochs_is_one_readable_png(out: Path, epochs: int) -> None:
    history = steps(epochs)
    check(out, charts.history(history, history[-1]))


@pytest.mark.parametrize("values", [(1.0,), (1e-4, 0.01, 1.0, 100.0)])
def test_history_of_a_search_is_one_readable_png(out: Path, values: tuple[float, ...]) -> None:
    history = steps(len(values), values)
    check(out, charts.history(history, history[-1]))


@DRAWN
def test_confusion_matrix_is_one_readable_png(out: Path, labels: list[str]) -> None:
    truth, probabilities = scores(len(labels))
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(matrix, (truth, probabilities.argmax(axis=1)), 1)
    matrix[-1] = 0  # a class without test images
    check(out, charts.confusion_matrix(matrix.tolist(), labels))


@DRAWN
def test_roc_is_one_readable_png(out: Path, labels: list[str]) -> None:
    truth, probabilities = scores(len(labels))
    check(out, charts.roc(truth, probabilities, labels))


@DRAWN
def test_operating_curves_are_one_readable_png(out: Path, labels: list[str]) -> None:
    truth, probabilities = scores(len(labels))
    found = Predictions((), np.array(truth), probabilities, np.asarray((probabilities * 0.7).argmax(axis=1)))
    moved = Predictions((), np.array(truth), probabilities, np.array(truth))
    for curves in (operating_curves({"test": found}), operating_curves({"test": moved, "out_of_fold": found})):
        check(out, charts.operating_curves(curves, labels))


def test_roc_leaves_out_classes_that_have_no_images_or_all(out: Path) -> None:
    _, probabilities = scores(3)
    check(out, charts.roc([0] * 300, probabilities, CLASSES["3"]))


def test_a_class_whose_name_starts_with_an_underscore_is_in_the_legend() -> None:
    figure = charts.roc(*scores(4), CLASSES["odd"])
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]
    # no font of this machine may have the first
    assert [text.split(" (")[0].strip() for text in texts[2:]] == ["_hidden", r"\$x_\$", "two lines"]


def test_no_two_classes_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_candidates", lambda: iter(()))  # only matplotlib's own font is installed
    labels = ["猫", "犬", f"{LONG} 1", f"{LONG} 2", "two\nlines", "two lines", "مرحبا"]
    names = class_names(labels)
    assert len(set(names)) == len(labels)
    assert names[:2] == ["class 1", "class 2"]
    assert names[-1] == labels[-1]
    matrix = np.eye(len(labels), dtype=np.int64).tolist()
    for axis in (
        charts.confusion_matrix(matrix, labels).axes[0].xaxis,
        charts.confusion_matrix(matrix, labels).axes[0].yaxis,
    ):
        shown = [text.get_text() for text in axis.get_ticklabels()]
        assert len(set(shown)) == len(labels)


@pytest.mark.parametrize(
    ("labels", "packages"),
    [
        (["cat", "Кот", "مرحبا"], ""),
        (["猫", "ねこ", "고양이"], "fonts-noto-cjk"),
        (["cat", "हिन्दी"], "fonts-noto-core"),
        (["🦭", "猫"], "fonts-noto-cjk fonts-symbola"),
    ],
)
def test_the_note_names_the_package_of_a_font_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, labels: list[str], packages: str
) -> None:
    monkeypatch.setattr(fonts, "_candidates", lambda: iter(()))
    assert fonts.missing_font_note(labels).rpartition("apt install ")[2] == packages


def test_drawing_names_that_no_font_has_prints_nothing(
    out: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_candidates", lambda: iter([("STIXGeneral", fonts._regular()["STIXGeneral"])]))
    lacking = fonts._characters(fonts._regular()["STIXGeneral"]) - fonts._characters(fonts._regular()["DejaVu Sans"])
    labels = ["猫", f"a{min(lacking)}", "c"]
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        check(out, charts.roc(*scores(3), labels))
    assert not caplog.records


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "roc.png", tmp_path / "b" / "roc.png"
    for path in (first, second):
        save_png(charts.roc(*scores(3), CLASSES["3"]), path)
    assert first.read_bytes() == second.read_bytes()


def test_a_figure_is_saved_in_both_forms(out: Path) -> None:
    history = steps(4, (1e-4, 0.01, 1.0, 100.0))
    element, again = (svg(charts.history(history, history[2]), "history", "<title>") for _ in range(2))
    assert element == again
    check(out, charts.history(history, history[2]))
    assert 'aria-label="&lt;title&gt;"' in element
    assert "var(--ink)" in element


def test_figures_leave_the_style_of_others_alone(out: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    save_png(charts.roc(*scores(2), CLASSES["2"]), out)
    assert dict(mpl.rcParams) == before


def test_a_figure_is_drawn_once_and_as_savefig_draws_it(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    counts = {"train": {"cat": 3, "dog": 5}}
    with styled():
        data_charts.class_counts(counts).savefig(tmp_path / "twice.png", dpi=160, facecolor="white")
    drawn, draw = [], Figure.draw

    def counted(figure: Figure, renderer: Any) -> None:
        drawn.append(figure)
        draw(figure, renderer)

    monkeypatch.setattr(Figure, "draw", counted)
    save_png(data_charts.class_counts(counts), out)
    svg(data_charts.class_counts(counts), "counts", "Images")
    assert len(drawn) == 2
    with Image.open(out) as once, Image.open(tmp_path / "twice.png") as twice:
        assert np.array_equal(np.asarray(once), np.asarray(twice))
