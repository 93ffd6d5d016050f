"""tlcli fetch on images that exist already: counts, output and the next command."""

import json
import shlex
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tlcli.cli.app import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``tlcli fetch ARGUMENTS`` beside a folder of 20 cats and 20 dogs and a config: exit code, stdout, stderr."""
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(20):
            level = number * 10 + (label == "dog")
            Image.new("L", (8, 8), level).save(tmp_path / "images" / label / f"{number}.png")
    (tmp_path / "my config.yaml").write_text("dataset: {path: images}\n")
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tlcli", "fetch", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return command


def test_images_that_are_there_are_counted(fetch: Run) -> None:
    code, out, err = fetch("--config", "my config.yaml")
    assert (code, err) == (0, "")
    assert "Images: images (" in out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith(("cat", "dog", "all"))] == [
        "20",
        "20",
        "40",
    ]


def test_next_command_takes_the_config_and_the_changes_along(fetch: Run) -> None:
    changes = ("--set", "train.epochs=3", "--set", "head.Cs=[1, 2]")
    out = fetch("--config", "my config.yaml", *changes)[1]
    assert out.endswith("Next: tlcli train --config 'my config.yaml' --set train.epochs=3 --set 'head.Cs=[1, 2]'\n")


def test_json_is_one_document_on_stdout(fetch: Run) -> None:
    code, out, err = fetch("--config", "my config.yaml", "--json")
    document = json.loads(out)
    assert code == 0
    assert list(document)[:4] == ["root", "reused", "failures", "format"]
    assert {split: sum(counts.values()) for split, counts in document["images"].items()} == {
        "train": 28,
        "validation": 6,
        "test": 6,
    }
    assert document["root"] == "images"
    assert (document["source"], document["failures"], document["unreadable"]) == (
        {"kind": "folder", "name": "images", "subdir": "", "files": [], "encoding": None},
        [],
        {},
    )
    assert "Next: tlcli train" in err


def test_quiet_prints_nothing(fetch: Run) -> None:
    assert fetch("--config", "my config.yaml", "--quiet") == (0, "", "")


def test_missing_images_are_an_error_of_the_data(fetch: Run) -> None:
    code, out, err = fetch("--config", "my config.yaml", "--set", "dataset.path=elsewhere")
    assert (code, out) == (3, "")
    assert "elsewhere" in err


def test_no_readable_image_is_an_error_that_names_the_first_reason(fetch: Run) -> None:
    for path in Path("images").rglob("*.png"):
        path.write_text(f"no image {path}")
    code, out, err = fetch("--config", "my config.yaml")
    assert (code, out) == (3, "")
    assert "data.images_unreadable" in err
    assert "40 of 40" in err
    assert "cat/0.png" in err


def test_too_many_unreadable_images_do_not_lead_to_train(fetch: Run) -> None:
    for number in range(3):
        Path(f"images/cat/{number}.png").write_text(f"no image {number}")
    code, out, _ = fetch("--config", "my config.yaml")
    assert code == 0
    assert out.splitlines()[-1] == "Next: tlcli inspect --config 'my config.yaml' --write-exclude exclude.txt"
    out = fetch("--config", "my config.yaml", "--set", "dataset.max_bad_fraction=0.1")[1]
    assert out.splitlines()[-1].startswith("Next: tlcli train")


@pytest.mark.parametrize("origin", [(), ("--from", "pets.zip")])
def test_archive_as_path_is_answered_with_one_whole_command(fetch: Run, origin: tuple[str, ...]) -> None:
    with zipfile.ZipFile("pets.zip", "w") as opened:
        for path in Path("images").rglob("*.png"):
            opened.write(path, path.relative_to("images"))
    changes = ("--set", "dataset.split.test=0.2", "--set", "dataset.path=pets.zip")
    code, _, err = fetch("--config", "my config.yaml", *changes, *origin)
    assert code == 3
    assert "data.not_a_folder" in err
    words = shlex.split(err.rpartition("tlcli fetch ")[2])
    assert words == [
        "--config", "my config.yaml", "--set", "dataset.split.test=0.2",
        "--set", "dataset.path=pets", "--from", "pets.zip",
    ]  # fmt: skip
    assert fetch(*words)[0] == 0


def test_address_of_a_folder_is_used_in_place_by_the_next_command(fetch: Run, tmp_path: Path) -> None:
    origin = (tmp_path / "images").as_uri()
    out = fetch("--config", "my config.yaml", "--set", "dataset.path=other", "--from", origin)[1]
    assert out.splitlines()[-1].endswith(f"--set dataset.path={tmp_path / 'images'}")
