"""Configs whose YAML could be misread."""

from collections.abc import Callable
from pathlib import Path

from tests.situations.situation import Read, Situation, put


def _text(text: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        put(folder, "010/{}.jpg", "1e3/{}.jpg")
        if "labels.csv" in text:
            lines = [f"{label}/{n}.jpg,{value}" for label, value in (("010", 1), ("1e3", 5)) for n in range(6)]
            (folder / "labels.csv").write_text("\n".join(["file,label", *lines]))
        return "dataset:\n  path: DATA\n" + text

    return make


_RULES = "  labels:\n    file: labels.csv\n    path: file\n    label: label\n    classes:\n"

CONFIG_TEXTS = [
    Situation("`classes: [010, 1e3]`", _text("  classes: [010, 1e3]\n"), "config.wrong_type", "the message says to quote"),
    Situation('`classes: ["010", "1e3"]`', _text('  classes: ["010", "1e3"]\n'), Read({"010": 6, "1e3": 6})),
    Situation("rules for the classes `1` and `01`", _text(_RULES + "      1: {below: 3}\n      01: {at_least: 3}\n"), Read({"1": 6, "01": 6})),
    Situation("rules for the classes `010` and `1e3`", _text(_RULES + "      010: {below: 3}\n      1e3: {at_least: 3}\n"), Read({"010": 6, "1e3": 6})),
    Situation("rules for the classes `yes` and `no`", _text(_RULES + "      yes: {below: 3}\n      no: {at_least: 3}\n"), Read({"yes": 6, "no": 6})),
    Situation(r'`path: "C:\Users\ann"`', lambda _: 'dataset:\n  path: "C:\\Users\\ann"\n', "config.not_yaml"),
    Situation("`labels` with a table and a pattern", _text("  labels: {file: a.csv, path: a, label: b, pattern: '(?P<label>a)'}\n"), "config.wrong_labels"),
]  # fmt: skip
