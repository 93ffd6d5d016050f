import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import fontManager
from PIL import Image

from tlcli.model.prediction import NoMap
from tlcli.reports import fonts
from tlcli.reports.cards import Card, NeighbourImage, draw, figure_of
from tlcli.reports.figures import save_png
from tlcli.reports.fonts import families
from tlcli.reports.overlays import NO_MAP

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = {
    "short": "alien",
    "sentence": "a class whose name somebody wrote as a whole sentence, with <signs> & $dollars_and^more$",
    "endless": "x" * 3000,
    "Japanese": "日本語の名前はとても長いことがあります",
    "Arabic": "مرحبا بالعالم",
    "Hindi": "हिन्दी",
    "undecodable": "caf\udce9 \x00\x1b[1m\nline",
    "empty": "",
}


def pixels(seed: int, side: int = 64) -> "NDArray[np.uint8]":
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def card(name: str, neighbours: int, missing: bool = False) -> Card:
    near = [
        NeighbourImage(f"train/{name}/{number}.jpg", name, 0.9, None if missing else pixels(number))
        for number in range(neighbours)
    ]
    heat = np.random.default_rng(0).normal(0, 2, (7, 7))
    return Card(f"/images/{name}.jpg", name, name, 0.97, pixels(9, 224), heat, near)


@pytest.mark.filterwarnings("ignore:Glyph")  # of the measuring here
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("neighbours", [0, 2, 5])
def test_names_of_any_length_and_script_stay_in_their_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, neighbours: int
) -> None:
    path = tmp_path / "folder" / "card.png"
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figure_of(card(name, neighbours))
        save_png(figure, path)
    assert not caplog.records
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > 900
        assert (image.height > image.width * 0.85) == bool(neighbours)
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()  # that of the file has more dots an inch
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts if text.get_text()]
    for box in boxes:
        assert 0 < box.x0 < box.x1 < figure.bbox.width
        assert 0 < box.y0 < box.y1 < figure.bbox.height
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            assert not one.padded(-1).overlaps(other.padded(-1))


def texts(given: Card) -> list[str]:
    """All that is written on a card."""
    return [text.get_text() for text in figure_of(given).axes[0].texts]


def test_a_long_name_keeps_its_start_and_a_long_path_its_end() -> None:
    label, path, evidence = (text for text in texts(card("start " + 100 * "middle " + "end", 0)) if "…" in text)
    assert evidence.endswith("…")
    assert label.startswith("start middle")
    assert label.endswith("…")
    assert path.startswith("…")
    assert path.endswith("end.jpg")


@pytest.mark.parametrize(
    ("probability", "shown"), [(0.5, "50.0 %"), (0.97349, "97.3 %"), (0.9994, "99.9 %"), (0.99999, "> 99.9 %")]
)
def test_a_probability_is_never_rounded_to_certainty(probability: float, shown: str) -> None:
    assert shown in texts(Card("a.jpg", "alien", "alien", probability, pixels(0), np.ones((2, 2))))


@pytest.mark.parametrize("reason", NO_MAP)
def test_without_a_map_the_nearest_image_has_its_place(reason: NoMap) -> None:
    with_map = card("alien", 5)
    without = replace(with_map, heat=None, no_map=reason)
    shown = figure_of(without).axes[0]
    assert len(shown.images) == 6  # the image once, its five neighbours, and no legend
    drawn = [np.asarray(image.get_array()) for image in shown.images]
    assert sum(np.array_equal(one, without.pixels) for one in drawn) == 1
    assert any(NO_MAP[reason] in text for text in texts(without))
    assert not any(NO_MAP[reason] in text for text in texts(with_map))
    assert len(figure_of(replace(without, neighbours=())).axes[0].images) == 1


def test_a_neighbour_whose_file_is_missing_is_named_without_its_image() -> None:
    shown, whole = figure_of(card("alien", 3, missing=True)).axes[0], figure_of(card("alien", 3)).axes[0]
    assert len(whole.images) - len(shown.images) == 3
    written = [text.get_text() for text in shown.texts]
    assert written.count("train/alien/1.jpg") == 1
    assert written.count("alien") == 4


def test_neighbours_of_another_class_are_seen_at_a_glance() -> None:
    near = [NeighbourImage("a", "alien", 0.9, pixels(1)), NeighbourImage("b", "predator", 0.8, pixels(2))]
    figure = figure_of(Card("x.jpg", "alien", "alien", 0.8, pixels(0), np.ones((2, 2)), near))
    colours = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert colours["predator"] != colours["alien"]


def test_more_neighbours_than_there_is_room_for_are_left_out() -> None:
    assert len(figure_of(card("alien", 9)).axes[0].images) == len(figure_of(card("alien", 5)).axes[0].images)


def test_what_no_font_has_is_written_as_code_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_candidates", lambda: iter(()))
    assert r"/images/\u732b.jpg" in texts(card("猫", 0))


def test_labels_below_neighbours_are_written_in_their_short_form() -> None:
    near = [NeighbourImage("a", "alien", 0.9, pixels(1)), NeighbourImage("b", "predator", 0.8, pixels(2))]
    shown = texts(Card("x.jpg", "alien", "alien", 0.8, pixels(0), np.ones((2, 2)), near, {"predator": "p (class 2)"}))
    assert "p (class 2)" in shown
    assert "predator" not in shown
    assert shown.count("alien") == 2


def test_equal_cards_are_equal_bytes_and_the_style_of_others_is_left_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, card("alien", 2))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert dict(mpl.rcParams) == before


def test_other_fonts_are_taken_for_what_matplotlibs_own_lacks() -> None:
    assert families("alien Здравствуй \n") == ["DejaVu Sans"]
    lacking = fonts._characters(fonts._regular()["STIXGeneral"]) - fonts._characters(fonts._regular()["DejaVu Sans"])
    assert lacking  # STIX comes with matplotlib, too
    first, *others = families(f"alien {min(lacking)}")
    assert first == "DejaVu Sans"
    assert len(others) == 1
    assert min(lacking) in fonts._characters(fonts._regular()[others[0]])


def test_an_unreadable_font_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    for name in ("broken.ttf", "gone.ttf"):
        assert fonts._characters(str(tmp_path / name)) == frozenset()


def test_what_no_font_has_leaves_the_font_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[Any] = [f for f in fontManager.ttflist if f.name == "DejaVu Sans"]
    monkeypatch.setattr(fontManager, "ttflist", listed)
    fonts._regular.cache_clear()
    assert families("日本") == ["DejaVu Sans"]
    fonts._regular.cache_clear()


@pytest.mark.parametrize(
    ("answer", "probability", "shares"), [("unsure (alien?)", 0.6, ["60.0 %"]), ("none of these (alien?)", None, [])]
)
def test_an_answer_that_is_no_class_is_shown_as_it_is(
    answer: str, probability: float | None, shares: list[str]
) -> None:
    shown = texts(Card("x.jpg", answer, "alien", probability, pixels(0), np.ones((2, 2))))
    assert answer in shown
    assert [text for text in shown if text.endswith("%")] == shares
