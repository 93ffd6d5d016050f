"""Names of files and classes that break other trainers, in one data set that goes through every command."""

import csv
import json
import os
import unicodedata
from html import unescape
from pathlib import Path

from tests.torture.setting import Setting, bytes_of, draw, write_config

FILES: dict[str, bytes] = {
    "spaces": b" a  b .png",
    "newline": b"new\nline.png",
    "tab and carriage return": b"t\tc\r.png",
    "Unicode in NFC": unicodedata.normalize("NFC", "café.png").encode(),
    "Unicode in NFD": unicodedata.normalize("NFD", "café.png").encode(),
    "255 bytes": b"x" * 251 + b".png",
    "not UTF-8": b"caf\xe9\xff.png",
    "emoji": "😀👨‍👩‍👧.png".encode(),
    "right to left": "\u202eabc\u202c.png".encode(),
    "leading dash": b"-rf.png",
    "two dots": b"x..png.png",
    "backslash": b"C:\\images\\x.png",
    "quotes and commas": b"a,\"b',c.png",
    "HTML": b"<script>alert(1)<&>.png",
    "terminal markup": b"[bold]x[/bold] \x1b[31m.png",
    "pattern": b"[a-z]*?{x}.png",
    "variable and per cent": b"$HOME %s %(x)s {0}.png",
    "upper case of another": b"TWIN.PNG",
    "lower case of another": b"twin.png",
    "no suffix": b"image",
    "Windows device": b"con.png",
    "formula": b"=1+1.png",
}
LABELS = (
    "a,b",
    '"q"',
    "<b>x&amp;",
    "😀",
    "-rf",
    "x..",
    "con",
    "$HOME",
    "[bold]",
    " space ",
    "new\nline",
    "=1+1",
    "é",
)
"""Class folders, besides the two that hold the files."""
LINKS = ("link to an image", "link to nothing", "folder linked to itself", "image that is a hard link")
NAMED = (*(f"file name: {name}" for name in FILES), *(f"class: {label!r}" for label in LABELS), *LINKS)


def make(root: Path) -> dict[str, bytes]:
    """Creates the data set; returns the file of each name."""
    files = {}
    for number, (name, file) in enumerate(FILES.items()):
        path = root / "dark" / os.fsdecode(file)
        draw(path, 60, 1000 + number)
        files[name] = os.fsencode(path)
    for number in range(8):
        draw(root / "light" / f"{number}.png", 190, 2000 + number)
    for index, label in enumerate(LABELS):
        for number in range(5):
            draw(root / label / f"{number}.png", 20 + 16 * index, 3000 + 10 * index + number)
    elsewhere = draw(root.parent / "away.png", 60, 5000)
    (root / "dark" / "linked.png").symlink_to(elsewhere)
    (root / "dark" / "nothing.png").symlink_to("nowhere")
    (root / "dark" / "loop").symlink_to(root / "dark", target_is_directory=True)
    os.link(root / "light" / "0.png", root / "light" / "hard.png")
    return files


def named(setting: Setting) -> dict[str, str]:
    """Runs fetch, train, evaluate, inspect, predict and runs on the data set; returns the outcome of each name.

    Raises:
        AssertionError: a command failed, or an image or class is missing somewhere.
    """
    root = setting.folder / "odd names"
    files = make(root)
    before = bytes_of(root)
    write_config(setting.folder / "odd.yaml", "odd names")
    for words in (["fetch"], ["train", "--set", "evaluate.figures=false"], ["inspect"]):
        done = setting.run(*words, "--config", "odd.yaml")
        assert done.code == 0, done.err
    evaluated = setting.run("evaluate", "--config", "odd.yaml", "--json")
    assert evaluated.code == 0, evaluated.err
    metrics = json.loads(evaluated.out)
    assert set(LABELS) < set(metrics["test"]["labels"])
    run = next((setting.folder / "runs" / "odd").glob("2*"))
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "<b>x&amp;" not in page
    json.loads((run / "report.json").read_text(encoding="utf-8"))
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {line["path"] for line in rows}
    for name, path in files.items():
        shown = os.fsdecode(path).removeprefix(f"{root}/").encode(errors="backslashreplace").decode()
        assert shown in names, f"{name}: {shown!r} is not in predictions.csv"
    for label in LABELS:
        assert any(line["label"] == label for line in rows), label
        assert label.strip().partition("\n")[0] in unescape(page), label
    assert "dark/linked.png" in names
    assert "dark/nothing.png" not in names
    assert not any(name.startswith("dark/loop") for name in names)
    predicted = setting.run("predict", "--config", "odd.yaml", "--json", "--", *map(os.fsdecode, files.values()))
    assert predicted.code == 0, predicted.err
    assert [answer["error"] for answer in json.loads(predicted.out)] == [None] * len(files)
    assert setting.run("runs").code == 0
    assert bytes_of(root) == before
    links = ("used", "skipped", "followed once", "counted, and kept in one split with its copy")
    return dict.fromkeys(NAMED, "trained, measured, classified") | dict(zip(LINKS, links, strict=True))
