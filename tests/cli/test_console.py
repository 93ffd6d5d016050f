"""What is printed: results on stdout, the rest on stderr, text as it is and nothing cut off."""

import io
import json
import re
import sys
import time
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from tlcli.cli import console
from tlcli.cli.console import Lines, Screen, print_error
from tlcli.cli.options import again
from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.split_metrics import ClassMetrics, Metrics
from tlcli.progress import Progress

ODD = r"C:\a\[b] [red]x[/red] [/] :smile: 'q' 3.5 /a/x\ " + "long" * 50


def metrics(n: int, accuracy: float, interval: tuple[float, float], *scores: float | None) -> Metrics:
    """Balanced accuracy, ROC-AUC, log loss and calibration error are the scores."""
    names = ("balanced_accuracy", "roc_auc", "log_loss", "ece")
    return Metrics(n, accuracy, interval, dict(zip(names, scores, strict=True)), {}, ((n,),), ("a",))


METRICS: dict[SplitName, Metrics] = {
    "train": metrics(12345, 1.0, (0.9997, 1.0), 1.0, 1.0, 0.00012, 0.5),
    "validation": metrics(20, 0.95, (0.7639, 0.9911), 0.9, None, 0.2, 0.05),
}


def cells(table: Table) -> list[list[str]]:
    """The cells of a table, without its rules."""
    out = io.StringIO()
    Console(file=out, width=1000).print(table)
    return [
        [cell.strip() for cell in re.split("[│┃]", line)] for line in out.getvalue().splitlines() if "━" not in line
    ]


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has printed no document."""
    monkeypatch.setattr(Screen, "has_printed_document", False)


# Where it goes


def test_results_go_to_stdout_and_notes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.line("a result")
    screen.bold("a figure")
    screen.line()
    screen.progress.note("a note")
    screen.next_command("tlcli", "train")
    screen.document({"ignored": 1})
    assert capsys.readouterr() == ("a result\na figure\n\nNext: tlcli train\n", "a note\n")


def test_with_json_stdout_holds_the_document_alone(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=True)
    screen.line("a result")
    screen.bold("a figure")
    screen.table(console.metrics_table(METRICS))
    screen.next_command("tlcli", "train")
    screen.progress.note("a note")
    screen.document({"größe": [1, None]})
    out, err = capsys.readouterr()
    assert out == '{\n  "größe": [\n    1,\n    null\n  ]\n}\n'
    for text in ("a result\na figure\n", "0.9997", "tlcli train\n", "a note\n"):
        assert text in err


def test_quiet_prints_nothing_but_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json, expected in ((False, ""), (True, "3\n")):
        Screen.has_printed_document = False
        screen = Screen(as_json=as_json, quiet=True)
        screen.line("a result")
        screen.bold("a figure")
        screen.table(console.metrics_table(METRICS))
        screen.table(console.confusion_table([[1] * 40] * 40, ["a long label"] * 40))
        screen.next_command("tlcli", "train")
        screen.progress.note("a note")
        with screen.progress.stage("work", 2, "images"):
            screen.progress.advance()
        screen.document(3)
        assert capsys.readouterr() == (expected, "")


def test_document_refuses_numbers_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of json
        Screen(as_json=True).document({"loss": float("nan")})
    assert capsys.readouterr().out == ""


def test_a_process_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().document({"ignored": 1})
    Screen(as_json=True).document({"first": 1})
    Screen(as_json=True).document({"second": 1})
    assert json.loads(capsys.readouterr().out) == {"first": 1}


def test_document_is_ascii_where_stdout_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "latin-1", errors="backslashreplace"))
    Screen(as_json=True).document({"name": "Käfer-甲虫"})
    sys.stdout.flush()
    assert json.loads(raw.getvalue().decode("ascii")) == {"name": "Käfer-甲虫"}


def test_error_goes_to_stderr_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_error(ODD)
    console.print_error(ODD, ODD)
    assert capsys.readouterr() == ("", f"Error: {ODD}\nError: {ODD}\nHint: {ODD}\n")


def test_text_for_other_programs_is_written_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.write_out(ODD)
    assert capsys.readouterr() == (ODD, "")


# How it looks


def test_lines_and_notes_are_neither_wrapped_nor_interpreted(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.line(ODD)
    screen.bold(ODD)
    screen.progress.note(ODD)
    assert capsys.readouterr() == (f"{ODD}\n{ODD}\n", f"{ODD}\n")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["tlcli", "predict", "IMAGE"], "tlcli predict IMAGE"),
        (["tlcli", "train", "--config", "my config.yaml"], "tlcli train --config 'my config.yaml'"),
        (["tlcli", "train", "--set", "head.Cs=[1, 2]"], "tlcli train --set 'head.Cs=[1, 2]'"),
        (["tlcli", "train", "--config", "[red]a[/red].yaml"], "tlcli train --config '[red]a[/red].yaml'"),
    ],
)
def test_next_command_can_be_pasted_into_a_shell(
    capsys: pytest.CaptureFixture[str], words: list[str], printed: str
) -> None:
    Screen().next_command(*words)
    assert capsys.readouterr().out == f"Next: {printed}\n"


def test_options_are_repeated_where_they_differ_from_the_default() -> None:
    assert again("--run", None) == []
    assert again("--runs-dir", "runs", "runs") == []
    assert again("--runs-dir", "other", "runs") == ["--runs-dir", "other"]


@pytest.mark.parametrize("as_json", [False, True])
def test_wide_table_is_not_cut_on_a_narrow_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    labels = [f"a rather long label {number}" for number in range(12)]
    Screen(as_json=as_json).table(console.confusion_table([[123456] * 12] * 12, labels))
    out, err = capsys.readouterr()
    printed, other = (err, out) if as_json else (out, err)
    assert other == ""
    assert printed.count("123,456") == 144
    assert all(printed.count(label) >= 2 for label in labels)
    assert "…" not in printed


def test_narrow_table_stays_within_the_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    Screen().table(console.metrics_table(METRICS))
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 60


# Tables


def test_counts_table_has_sums_both_ways() -> None:
    counts = {"train": {"cat": 1000, "dog": 234}, "validation": {"cat": 10, "dog": 0}, "test": {"cat": 5, "dog": 7}}
    _, head, *body = cells(console.counts_table(counts))
    assert head == ["class", "train", "validation", "test", "all"]
    assert [line for line in body if len(line) > 1] == [
        ["cat", "1,000", "10", "5", "1,015"],
        ["dog", "234", "0", "7", "241"],
        ["all", "1,234", "10", "12", "1,256"],
    ]


def test_metrics_table_has_a_column_a_split_and_a_dash_for_what_cannot_be_measured() -> None:
    assert cells(console.metrics_table(METRICS))[1:] == [
        ["", "train", "validation"],
        ["images", "12,345", "20"],
        ["accuracy", "1.0000", "0.9500"],
        ["95 % interval", "0.9997 - 1.0000", "0.7639 - 0.9911"],
        ["balanced accuracy", "1.0000", "0.9000"],
        ["ROC-AUC", "1.0000", "-"],
        ["log loss", "0.0001", "0.2000"],
        ["calibration error", "0.5000", "0.0500"],
    ]


def test_per_class_table_has_a_line_a_class() -> None:
    per_class = {
        "cat": ClassMetrics(0.5, 0.25, 1 / 3, 1200),
        "[dog]": ClassMetrics(None, 0.0, 0.0, 3),
        "owl": ClassMetrics(None, None, None, 0),
    }
    assert cells(console.per_class_table(per_class))[1:] == [
        ["class", "precision", "recall", "F1", "support"],
        ["cat", "0.5000", "0.2500", "0.3333", "1,200"],
        ["[dog]", "-", "0.0000", "0.0000", "3"],
        ["owl", "-", "-", "-", "0"],
    ]


def test_confusion_table_has_true_classes_down_and_predicted_across() -> None:
    assert cells(console.confusion_table([[10, 2], [0, 1500]], ["[cat]", "dog"]))[1:] == [
        ["true \\ predicted", "[cat]", "dog"],
        ["[cat]", "10", "2"],
        ["dog", "0", "1,500"],
    ]


def test_confusion_table_refuses_labels_that_do_not_fit() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of zip
        console.confusion_table([[1, 2], [3, 4]], ["cat"])


def widest(table: Table, capsys: pytest.CaptureFixture[str]) -> int:
    Screen().table(table)
    return max(cell_len(line) for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("letter", ["x", "\u732b"])
@pytest.mark.parametrize("classes", [2, 12, 1000])
def test_tables_fit_80_columns_whatever_the_classes_are_called(
    classes: int, letter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [f"{letter * 70} {number}" for number in range(classes)]
    counts = {split: dict.fromkeys(labels, 1_234_567) for split in ("train", "validation", "test")}
    per_class = {label: ClassMetrics(0.5, 0.25, 1 / 3, 120_000) for label in labels}
    matrix = [[123_456] * classes for _ in labels]
    for table in (
        console.counts_table(counts), console.per_class_table(per_class), console.confusions_table(matrix, labels),
    ):  # fmt: skip
        assert widest(table, capsys) <= 80


def test_of_many_classes_those_are_shown_that_matter() -> None:
    labels = [f"c{number}" for number in range(100)]
    per_class = {label: ClassMetrics(0.5, 0.5, number / 100, 5) for number, label in enumerate(labels)}
    per_class["c0"] = ClassMetrics(None, None, None, 0)
    rows = cells(console.per_class_table(per_class))
    assert [row[0] for row in rows if row[0].startswith("c") and row[0] != "class"] == labels[1:21]
    counts = {"train": {label: 500 - number for number, label in enumerate(labels)}, "test": dict.fromkeys(labels, 1)}
    rows = cells(console.counts_table(counts))
    assert next(row[0] for row in rows if row[0].startswith("c9")) == "c99"
    assert rows[-1][1:] == ["45,050", "100", "45,150"]


def test_a_table_that_is_wider_than_80_columns_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    wide = [f"a rather long label {number}" for number in range(6)]
    assert not Screen().fits(console.confusion_table([[1] * 6] * 6, wide))
    assert Screen().fits(console.confusion_table([[1] * 6] * 6, list("abcdef")))


def test_largest_confusions_come_first() -> None:
    matrix = [[90, 3, 7], [0, 10, 0], [12, 0, 8]]
    rows = cells(console.confusions_table(matrix, ["a", "b", "[c]"], most=2))
    assert rows[-2:] == [["[c]", "a", "12", "60.0%"], ["a", "[c]", "7", "7.0%"]]


# Progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> tuple[Progress, io.StringIO]:
    """Progress as on a terminal, and what was written there."""
    out = io.StringIO()
    return console._Bars(Console(file=out, force_terminal=True, width=120)), out


def test_stages_are_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Screen().progress
    with progress.stage("Extracting", 2, "images"):
        progress.advance()
        progress.note("two views")
        progress.advance()
    assert capsys.readouterr() == ("", "two views\n")


def test_without_a_terminal_a_long_stage_prints_lines() -> None:
    out = io.StringIO()
    progress = Lines(Console(file=out, width=200), every_seconds=0.02)
    with progress.stage("Extracting", 1000, "images"), progress.stage("Loading", 4_000_000, "bytes"):
        progress.advance(2_000_000)
        wait_for(lambda: out.getvalue().count("\n") >= 2)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("Loading: 2.0 MB of 4.0 MB")
    with progress.stage("Converting"):  # without steps
        wait_for(lambda: "Converting" in out.getvalue())
    ended = out.getvalue()
    with progress.stage("Soon done"):
        pass
    time.sleep(0.05)
    assert out.getvalue() == ended


def test_many_short_stages_print_a_line_together() -> None:
    out = io.StringIO()
    progress = Lines(Console(file=out, width=200), every_seconds=0.1)
    for _ in range(20):
        with progress.stage("Short", 2, "steps"):
            progress.advance()
            time.sleep(0.02)
    assert 1 <= out.getvalue().count("\n") <= 6


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; the test fails where it does not within seconds."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError


def test_stage_shows_title_count_and_rate_on_a_terminal(terminal: tuple[Progress, io.StringIO]) -> None:
    progress, out = terminal
    with progress.stage("Extracting", 3, "images"):
        for _ in range(3):
            progress.advance()
    assert "Extracting" in out.getvalue()
    assert "3/3" in out.getvalue()
    assert "images/s" in out.getvalue()


def test_bytes_are_shown_with_their_unit(terminal: tuple[Progress, io.StringIO]) -> None:
    progress, out = terminal
    with progress.stage("Downloading", 2_000_000, "bytes"):
        progress.advance(2_000_000)
    assert "2.0 MB/2.0 MB" in out.getvalue()


@pytest.mark.parametrize("unit", ["", "bytes", "images"])
def test_stage_without_a_total_can_be_advanced(terminal: tuple[Progress, io.StringIO], unit: str) -> None:
    progress, out = terminal
    with progress.stage("Converting", unit=unit):
        progress.advance(5)
    assert "Converting" in out.getvalue()


def test_brackets_in_a_title_are_not_markup(terminal: tuple[Progress, io.StringIO]) -> None:
    progress, out = terminal
    with progress.stage("Unpacking [red]a[/b].zip", 1, "files"):
        progress.advance()
    assert "Unpacking [red]a[/b].zip" in out.getvalue()


def test_stages_inside_a_stage_leave_its_count(terminal: tuple[Progress, io.StringIO]) -> None:
    progress, out = terminal
    with progress.stage("Outer", 2, "steps"):
        progress.advance()
        with progress.stage("Inner", 5, "things"):
            progress.advance()
        progress.advance()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).strip().splitlines()[-1]
    assert "2/2" in last.split("Outer")[-1]


def test_stage_that_fails_lets_the_error_through_and_ends(terminal: tuple[Progress, io.StringIO]) -> None:
    progress, out = terminal
    with pytest.raises(ValueError, match="broken"), progress.stage("Outer", 2), progress.stage("Inner", 2):
        raise ValueError("broken")
    before = out.getvalue()
    progress.advance()  # no stage is open
    assert out.getvalue() == before


def test_colour_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console.print_error("x")
    assert "\x1b[1;31m" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    console.print_error("x")
    assert "31m" not in capsys.readouterr().err


def test_json_document_escapes_line_ends(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=True).document([{"path": "a\nb", "error": None}])
    assert json.loads(capsys.readouterr().out) == [{"path": "a\nb", "error": None}]


@pytest.mark.parametrize("name", ["\x1b[2J", "\x1b]0;title\a", "a\rb", "\x9b2J", "\x7f\0"])
def test_control_characters_of_names_do_not_reach_the_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.line(f"größe {name} \n\tnext")
    screen.progress.note(name)
    print_error(name)
    out, err = capsys.readouterr()
    assert out.startswith("größe ")
    assert out.count("\n") == 2
    shown = (out + err).replace("\n", "").replace("\t", "")
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
