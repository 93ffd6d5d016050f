"""The page of a search: what tune found -> report.html, and figures/pareto.png."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from tlcli.progress import format_duration
from tlcli.reports import tune_charts
from tlcli.reports.figures import save_png, svg
from tlcli.reports.notes import REFERENCES
from tlcli.reports.page import Fact, write_page
from tlcli.reports.tune_text import (
    TuneText,
    ends,
    figure,
    gain,
    gain_ends,
    head_words,
    layers_text,
    milliseconds,
    network_name,
)
from tlcli.tuning.metric_units import title_of
from tlcli.tuning.outcome import Contender, Outcome, TriedPass
from tlcli.tuning.settings import PassSetting

_SHOWN = 40
"""Contenders on the page; leaderboard.csv has all."""


class LeaderboardRow(NamedTuple):
    """A contender, as the page writes it."""

    rank: str
    """Empty for the config as it is, and for the fine-tuned winner."""
    network: str
    size: str
    passed: str
    """How its images are prepared: resizing and augmentation."""
    layers: str
    pooling: str
    head: str
    details: str
    """C and what is not the default."""
    score: str
    interval: str
    behind: str
    """How much the best is better; empty for the best."""
    behind_interval: str
    is_equal: bool
    """Without evidence that the best is better."""
    ms: str
    megabytes: str
    seconds: str
    """How long the search took for its pass and all heads on it."""


class PassRow(NamedTuple):
    """A pass, as the page writes it."""

    network: str
    size: str
    passed: str
    images: str
    score: str
    ms: str
    megabytes: str
    transfer: Sequence[str]
    """A cell for each transferability score."""
    fate: str
    """Why it did not go on."""


def write_tune_page(
    folder: Path, outcome: Outcome, name: str, next_command: str, tuned: str = "", notes: Sequence[str] = ()
) -> None:  # fmt: skip
    """Writes report.html into a search's folder.

    Args:
        folder: of the search.
        outcome: what it found.
        name: of the config or data set, for the title.
        next_command: the whole line.
        tuned: text of tuned.yaml, which the page shows where it is given.
        notes: further sentences, such as on what was left out.
    """
    transfer = list(dict.fromkeys(key for one in outcome.passes for key in one.transfer))
    write_page(
        folder / "report.html",
        "tune.html.j2",
        name=name,
        outcome=outcome,
        metric=title_of(outcome.metric),
        text=TuneText(outcome),
        facts=_facts(outcome),
        rows=[_row(outcome, number, one) for number, one in enumerate(outcome.contenders[:_SHOWN], 1)],
        given=_row(outcome, 0, outcome.given) if outcome.given else None,
        fine_tuned=_row(outcome, 0, found.contender) if (found := outcome.fine_tuned) else None,
        passes=[_pass_row(outcome, one, transfer) for one in outcome.passes],
        transfer=transfer,
        charts=_charts(outcome),
        references=REFERENCES,
        next_command=next_command,
        tuned=tuned,
        notes=notes,
    )


def draw_pareto(folder: Path, outcome: Outcome) -> None:
    """Writes pareto.png into the folder of figures."""
    save_png(tune_charts.pareto(outcome, 8, 5.2), folder / "pareto.png")


def _facts(outcome: Outcome) -> list[Fact]:
    best, expected = outcome.best, outcome.expected
    title = title_of(outcome.metric)
    facts = [Fact(f"Winner's {title}", figure(outcome.metric, best.score), ends(outcome.metric, best.interval))]
    if expected:
        interval = ends(outcome.metric, expected.interval)
        facts.append(Fact("To expect", figure(outcome.metric, expected.expected), interval))
    if (found := outcome.fine_tuned) and found.helps:
        interval = ends(outcome.metric, found.contender.interval)
        facts.append(Fact("Fine-tuned", figure(outcome.metric, found.contender.score), interval))
    if outcome.given:
        given = outcome.given
        facts.append(Fact("Config as it is", figure(outcome.metric, given.score), ends(outcome.metric, given.interval)))
    return [
        *facts,
        Fact("ms per image", milliseconds(best.cost.ms_per_image), f"{_megabytes(best)} MB of weights"),
        Fact("Trials", f"{outcome.trials:,}", format_duration(outcome.seconds)),
    ]


def _megabytes(one: Contender | TriedPass) -> str:
    return f"{one.cost.megabytes:,.1f}" if one.cost.megabytes < 100 else f"{one.cost.megabytes:,.0f}"


def _row(outcome: Outcome, number: int, one: Contender) -> LeaderboardRow:
    is_best = one is outcome.best
    kind, *details = head_words(one.head)
    return LeaderboardRow(
        str(number or ""),
        network_name(one.input),
        one.input.size_text,
        _passed(one.input),
        layers_text(one.input, one.head.layers),
        one.head.pooling,
        kind,
        ", ".join(details),
        figure(outcome.metric, one.score),
        ends(outcome.metric, one.interval),
        "" if is_best else gain(outcome.metric, outcome.ahead_of(one)),
        "" if is_best else gain_ends(outcome.metric, one.behind),
        one.is_equal,
        milliseconds(one.cost.ms_per_image),
        _megabytes(one),
        format_duration(one.cost.seconds),
    )


def _passed(setting: PassSetting) -> str:
    return setting.resize if setting.augmentation == "none" else f"{setting.resize}; {setting.augmentation}"


def _pass_row(outcome: Outcome, one: TriedPass, transfer: Sequence[str]) -> PassRow:
    values = [one.transfer.get(key) for key in transfer]
    return PassRow(
        network_name(one.setting),
        one.setting.size_text,
        _passed(one.setting),
        f"{one.images:,}" if one.images else "-",
        "-" if one.score is None else figure(outcome.metric, one.score),
        milliseconds(one.cost.ms_per_image),
        _megabytes(one),
        ["-" if value is None else f"{value:.3f}" for value in values],
        one.left_out,
    )


def _charts(outcome: Outcome) -> dict[str, Markup]:
    drawn = {"pareto": (tune_charts.pareto(outcome), f"{title_of(outcome.metric)} against milliseconds per image")}
    for name, values, what in (
        ("heads", outcome.importance, "heads"), ("inputs", outcome.input_importance, "passes"),
    ):  # fmt: skip
        if any(values.values()):
            drawn[name] = tune_charts.shares(values), f"How much each setting of {what} matters"
    return {name: svg(drawing, name, title) for name, (drawing, title) in drawn.items()}
