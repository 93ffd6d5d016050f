"""The manifest of a fetched directory: read back as written, or ignored."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tlcli.datasets.acquire.manifest import (
    NAME,
    ArchiveRecord,
    DatasetManifest,
    SourceRecord,
    read_manifest,
    tree_of,
    write_manifest,
)

MANIFEST = DatasetManifest(
    source=SourceRecord(kind="kaggle", name="a/b"),
    version="3",
    archives=(ArchiveRecord(name="b.zip", sha256="0" * 64, bytes=9),),
    files=2,
    bytes=5,
    tree="t",
    licence="CC0",
    citation=None,
    fetched="2026-01-02T03:04:05+00:00",
    tlcli="0",
    read_as="r",
    images={"train": {"cat": 1}},
    unreadable={"x.png": "broken"},
    notes=("one", "two"),
)


def test_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)

    assert read_manifest(tmp_path) == MANIFEST


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    manifest = DatasetManifest.model_validate({**dict(MANIFEST), "unreadable": {os.fsdecode(b"\xff.png"): "broken"}})
    write_manifest(tmp_path, manifest)

    assert read_manifest(tmp_path) == manifest
    assert list(manifest.unreadable) == ["\\udcff.png"]


@pytest.mark.parametrize("change", [{"format": 1}, {"source": "kaggle"}, {"images": []}, {"notes": None}])
def test_manifest_of_another_shape_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    write_manifest(tmp_path, MANIFEST)
    value = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps({**value, **change}))

    assert read_manifest(tmp_path) is None


def test_what_another_version_wrote_too_is_ignored(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    value = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps({**value, "folders": "f"}))

    assert read_manifest(tmp_path) == MANIFEST


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\xff"])
def test_malformed_manifest_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_bytes(text.encode("latin-1"))

    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "nowhere") is None


def test_tree_counts_every_file_but_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"123")
    (tmp_path / "a" / "b" / "two").write_bytes(b"45")
    before = tree_of(tmp_path)

    write_manifest(tmp_path, MANIFEST)

    assert tree_of(tmp_path) == before
    assert (before.files, before.bytes) == (2, 5)


def added(folder: Path) -> None:
    (folder / "new").touch()


def removed(folder: Path) -> None:
    (folder / "one").unlink()


def renamed(folder: Path) -> None:
    (folder / "one").rename(folder / "uno")


def longer(folder: Path) -> None:
    (folder / "one").write_bytes(b"1234")


def touched(folder: Path) -> None:
    os.utime(folder / "one", ns=(1, 1))


@pytest.mark.parametrize("change", [added, removed, renamed, longer, touched])
def test_tree_differs_after_any_change(tmp_path: Path, change: Any) -> None:
    (tmp_path / "one").write_bytes(b"123")
    before = tree_of(tmp_path)

    change(tmp_path)

    assert tree_of(tmp_path).tree != before.tree


def test_renamed_files_have_the_same_contents(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"123")
    (tmp_path / "two").write_bytes(b"4")
    before = tree_of(tmp_path)

    renamed(tmp_path)

    assert tree_of(tmp_path).contents == before.contents
    (tmp_path / "uno").write_bytes(b"1234")
    assert tree_of(tmp_path).contents != before.contents


def test_tree_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dead").symlink_to("nowhere")

    assert tree_of(tmp_path).files == 2
