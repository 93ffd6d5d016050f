"""The page, the figures and the terminal's table of a search."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tests.browser import chromium, opened, overflows
from tests.reports.tune_sample import METRICS, outcome, with_answers, with_fine_tuning

from tlcli.cli.tune_tables import leaderboard_table
from tlcli.progress import format_duration
from tlcli.reports import tune_charts
from tlcli.reports.tune_page import draw_pareto, write_tune_page
from tlcli.reports.tune_text import TuneText, ends, figure, gain, gain_ends, layers_text
from tlcli.tuning.metric_units import as_measured, ends_as_measured
from tlcli.tuning.outcome import NoFinetuning, NotFineTuned, Outcome
from tlcli.tuning.settings import PassSetting

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RESULTS = {
    "full": outcome(),
    "one": outcome(1, 1),
    "bare": outcome(1, 1, is_expected=False, is_given=False, transfer=False),
    "log loss": outcome(metric="log_loss", ending="budget"),
    "many": outcome(70, 24),
    "answers": with_answers(outcome()),
    "no transfer": outcome(1, 1).with_transfer("few_images"),
    "fine-tuned": with_fine_tuning(with_answers(outcome())),
    "fine-tuned, log loss": with_fine_tuning(outcome(metric="log_loss"), gain=-0.01, folds=5),
}
EACH = pytest.mark.parametrize("found", RESULTS.values(), ids=RESULTS.keys())
NEXT = "tlcli train --config 'a <b>.yaml'"


def written(folder: Path, found: Outcome) -> Path:
    """The page's file."""
    write_tune_page(folder, found, "<i>solar</i> & cells", NEXT, "a: <b>\n", ["one <note>"])
    return folder / "report.html"


class Elements(HTMLParser):
    """Checks that every element that is opened is closed, in order."""

    EMPTY = ("meta", "link", "br", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@EACH
def test_page_is_one_well_formed_file(tmp_path: Path, found: Outcome) -> None:
    text = written(tmp_path, found).read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    elements = Elements()
    elements.feed(text)
    assert not elements.open
    assert "<script" not in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert target.startswith("data:") or target[1:] in ids
    assert "<i>solar" not in text
    for escaped in ("&lt;i&gt;solar&lt;/i&gt;", "a &lt;b&gt;.yaml", "a: &lt;b&gt;", "one &lt;note&gt;"):
        assert escaped in text


def cells(text: str, section: str) -> list[list[str]]:
    """The table of a section."""
    inside = text.split(f'id="{section}"')[1].split("</section>", maxsplit=1)[0].split("<tbody>")[1]
    rows = re.findall(r"<tr>(.*?)</tr>", inside, re.DOTALL)
    return [[re.sub(r"<[^>]+>", " ", cell) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in rows]


@EACH
def test_page_has_the_figures_of_all_contenders_and_passes(tmp_path: Path, found: Outcome) -> None:
    text = written(tmp_path, found).read_text()
    rows = cells(text, "leaderboard")
    shown = found.contenders[:40]
    assert len(rows) == len(shown) + (found.given is not None) + (found.fine_tuned is not None)
    for row, one in zip(rows, shown, strict=False):
        assert figure(found.metric, one.score) in row[2]
        assert ends(found.metric, one.interval) in row[2]
        assert ("equal" in row[3]) == (one.is_equal and one is not found.best)
    assert [row[0].strip() for row in rows] == [
        *(str(rank) for rank in range(1, len(shown) + 1)), *(["fine-tuned"] if found.fine_tuned else []),
        *(["config"] if found.given else []),
    ]  # fmt: skip
    passes, scores = cells(text, "passes"), {key for one in found.passes for key in one.transfer}
    assert len(passes) == len(found.passes)
    assert {len(row) for row in passes} == {6 + len(scores)}


@EACH
def test_page_has_a_figure_for_what_is_known(tmp_path: Path, found: Outcome) -> None:
    text = written(tmp_path, found).read_text()
    known = 1 + bool(found.importance) + bool(found.input_importance)
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(figures) == known
    for one in figures:
        assert "var(--ink)" in one
        assert not re.findall(r"#[0-9a-f]{6}\b", one), "a colour that does not change with the scheme"


@EACH
def test_pareto_is_one_readable_png(tmp_path: Path, found: Outcome) -> None:
    draw_pareto(tmp_path / "figures", found)
    assert [entry.name for entry in (tmp_path / "figures").iterdir()] == ["pareto.png"]
    with Image.open(tmp_path / "figures" / "pareto.png") as image:
        assert image.format == "PNG"
        assert 400 <= image.width <= 4000
        assert len(image.convert("RGB").getcolors(2**24) or []) > 20


@pytest.mark.parametrize("width", [4.6, 8.0])
def test_names_of_the_pareto_figure_do_not_overlap(width: float) -> None:
    random = np.random.default_rng(3)
    found = outcome(30)
    contenders = tuple(
        replace(
            one, cost=replace(one.cost, ms_per_image=float(20 * 0.9**number * random.uniform(0.97, 1.03))),
            input=replace(one.input, backbone=f"network_{number:02d}"),
        )
        for number, one in enumerate(found.contenders)
    )  # fmt: skip
    found = replace(found, contenders=contenders)
    assert len(found.pareto) > 20
    drawn = tune_charts.pareto(found, width)
    axis = drawn.axes[0]
    boxes = [text.get_window_extent() for text in axis.texts if text.get_text()]
    assert axis.texts[0].get_text().startswith("network_00")  # the best has a name in any case
    assert len(boxes) > 2
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert drawn.bbox.x0 <= box.x0
        assert box.x1 <= drawn.bbox.x1


def test_the_better_log_loss_is_drawn_above() -> None:
    axis = tune_charts.pareto(outcome(metric="log_loss")).axes[0]
    bottom, top = axis.get_ylim()
    assert bottom > top > 0
    bottom, top = tune_charts.pareto(outcome()).axes[0].get_ylim()
    assert bottom < top


# Figures as people read them


def test_a_log_loss_is_shown_positive_with_its_ends_in_order() -> None:
    assert as_measured("log_loss", -0.31) == 0.31
    assert ends_as_measured("log_loss", (-0.35, -0.27)) == (0.27, 0.35)
    assert figure("log_loss", -0.31) == "0.3100"
    assert ends("log_loss", (-0.35, -0.27)) == "0.2700 to 0.3500"
    assert ends("accuracy", (0.88, 0.93)) == "0.880 to 0.930"


def test_differences_have_the_unit_and_the_direction_of_the_metric() -> None:
    assert gain("accuracy", 0.012) == "+1.2 points"
    assert gain_ends("recall@precision=0.95", (-0.003, 0.021)) == "-0.3 to 2.1"
    assert gain("log_loss", 0.012) == "log loss -0.0120"
    assert gain_ends("log_loss", (0.003, 0.021)) == "-0.0210 to -0.0030"
    assert gain("roc_auc", 0.012) == "ROC-AUC +0.012"


def test_layers_are_named_by_the_network_that_has_them() -> None:
    known = PassSetting("densenet201", (224, 224), "crop")
    layers = ("stage1", "stage2", "stage3", "last")
    every, earlier, last = (layers_text(known, some) for some in (layers, layers[:-1], layers[-1:]))
    assert len({every, earlier, last}) == 3
    assert layers_text(known, ("stage3", "last")) == "stage3 + last"
    own = PassSetting("", (224, 224), "crop")
    assert layers_text(own, layers) == "stage1 + stage2 + stage3 + last"
    assert layers_text(own, ("last",)) == last


def test_page_has_the_table_of_transfer_where_it_was_measured(tmp_path: Path) -> None:
    text = written(tmp_path, RESULTS["answers"]).read_text()
    gap = RESULTS["answers"].transfer
    assert gap
    rows = cells(text, "transfer")
    assert len(rows) == 1 + len(gap.comparisons)
    for row, one in zip(rows[1:], gap.comparisons, strict=True):
        assert row[1].strip() == f"{100 * one.gain:+.1f}"
    told = TuneText(RESULTS["answers"]).transfer
    for one in gap.comparisons:
        assert f"{100 * one.gain:+.1f} points" in told
    assert TuneText(RESULTS["no transfer"]).transfer
    assert 'id="transfer"' in written(tmp_path, RESULTS["no transfer"]).read_text()
    assert 'id="transfer"' not in written(tmp_path, RESULTS["full"]).read_text()


def test_sentences_have_the_figures() -> None:
    found = outcome()
    text = TuneText(found)
    assert found.expected
    for sentence in (text.verdict, text.optimism):
        assert "0.912" in sentence
        assert figure(found.metric, found.expected.expected) in sentence
        assert ends(found.metric, found.expected.interval) in sentence
    equal = sum(one.is_equal for one in found.contenders[1:])
    assert f"{equal} of the other 19" in text.equal
    assert "3.87 ms" in text.equal  # of the fastest that is equal
    assert gain("balanced_accuracy", found.best.score - found.given.score) in text.given  # type: ignore[union-attr]
    assert "11 of 12" in text.ending
    assert "2,099" in text.halving


def test_what_is_not_known_is_not_told() -> None:
    text = TuneText(RESULTS["bare"])
    assert not text.equal
    assert "expect" not in text.verdict


def test_evidence_for_either_side_and_none_are_told_apart() -> None:
    found = outcome()
    assert found.given
    told = {
        TuneText(replace(found, given=replace(found.given, behind=behind))).given[:6]
        for behind in ((0.01, 0.02), (-0.02, -0.01), (-0.01, 0.02))
    }
    assert len(told) == 3
    same = replace(found.given, input=found.best.input, head=found.best.head, behind=(0.0, 0.0))
    assert TuneText(replace(found, given=same)).given[:6] not in told


def test_equal_contenders_that_are_not_faster_are_not_advised() -> None:
    found = outcome()
    slow = tuple(replace(one, cost=found.best.cost) for one in found.contenders)
    assert " ms" not in TuneText(replace(found, contenders=slow)).equal
    beaten = tuple(replace(one, behind=(0.01, 0.02)) for one in found.contenders[1:])
    assert " ms" not in TuneText(replace(found, contenders=(found.best, *beaten))).equal


# The terminal


@pytest.mark.parametrize("metric", METRICS)
def test_leaderboard_fits_80_columns_and_cuts_nothing(metric: str) -> None:
    found = outcome(metric=metric)
    table = leaderboard_table(found)
    console = Console(width=80)
    assert console.measure(table, options=console.options.update(width=10_000)).maximum <= 80
    with console.capture() as captured:
        console.print(table)
    text = captured.get()
    assert table.row_count == 11
    for one in (*found.contenders[:10], found.given):
        assert one
        assert figure(metric, one.score) in text
        assert ends(metric, one.interval) in text
    assert "…" not in text


def test_fine_tuning_has_its_sentence_and_its_line() -> None:
    text = {verdict: TuneText(with_fine_tuning(outcome(), gain)) for verdict, gain in
            (("helps", 0.02), ("none", 0.001), ("hurts", -0.02))}  # fmt: skip
    said = {one.finetuning for one in text.values()}
    assert len(said) == 3
    for sentence in said:
        assert "840 images" in sentence
        assert "2 of 5 folds" in sentence
    assert gain("balanced_accuracy", 0.02) in text["helps"].finetuning
    assert leaderboard_table(with_fine_tuning(outcome())).row_count == 12
    assert not TuneText(outcome()).finetuning
    reasons = get_args(NoFinetuning)
    left_out = [TuneText(replace(outcome(), finetuning=NotFineTuned(one, 600.0))).finetuning for one in reasons[1:]]
    assert len(set(left_out)) == len(reasons) - 1
    assert all(format_duration(600) in one for one in left_out)


def test_leaderboard_marks_what_is_equal() -> None:
    found = outcome(8)
    ranks = list(leaderboard_table(found, 5).columns[0].cells)
    assert [cell.endswith("=") for cell in map(str, ranks)] == [
        False, *(one.is_equal for one in found.contenders[1:5]), False,
    ]  # fmt: skip


# In a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium."""
    with chromium() as one:
        yield one


@pytest.mark.parametrize("width", [390, 1280])
@EACH
def test_page_loads_without_console_messages_and_never_overflows(
    browser: "Browser", tmp_path: Path, found: Outcome, width: int
) -> None:
    with opened(browser, written(tmp_path, found), width) as (page, said):
        assert said == []
        assert not overflows(page)
