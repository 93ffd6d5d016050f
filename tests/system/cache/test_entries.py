"""Entries are recognised by their names, and anything with another name is never removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.system.cache import locks
from tlcli.system.cache.entries import DATABASE, Entry, remove, scan, staging_path
from tlcli.system.files import cache_folder, whole_file, write_text

STORE, GRAPH = "0123456789abcdef" * 2, "mobilenet_v2-0123456789abcdef"
SHARD = "a" * 64


def put(*names: str) -> None:
    for name in names:
        path = cache_folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")


def found() -> dict[str, str]:
    """The kind of every entry, by its path in the cache."""
    return {str(entry.path.relative_to(cache_folder())): entry.kind for entry in scan(cache_folder())}


def entry(name: str) -> Entry:
    return next(one for one in scan(cache_folder()) if one.path == cache_folder() / name)


WHOLE = {
    f"features/{STORE}/{SHARD}.safetensors": (f"features/{STORE}", "features"),
    f"backbones/{GRAPH}/digests.json": (f"backbones/{GRAPH}", "converted backbones"),
    "backbones/densenet201-int8-0123456789abcdef/digests.json": (
        "backbones/densenet201-int8-0123456789abcdef", "converted backbones",
    ),
    f"compiled/{GRAPH}-bf16/digests.json": (f"compiled/{GRAPH}-bf16", "compiled graphs"),
    f"compiled/{GRAPH}-f32-latency/digests.json": (f"compiled/{GRAPH}-f32-latency", "compiled graphs"),
    f"compiled/{GRAPH}-f32-16t-latency/digests.json": (f"compiled/{GRAPH}-f32-16t-latency", "compiled graphs"),
    f"backbones/{GRAPH}-without-2/digests.json": (f"backbones/{GRAPH}-without-2", "converted backbones"),
    f"compiled/{GRAPH}-without-2-bf16/digests.json": (f"compiled/{GRAPH}-without-2-bf16", "compiled graphs"),
    f"finetuned/{GRAPH}/digests.json": (f"finetuned/{GRAPH}", "fine-tuned blocks"),
    "weights/xception-random-0/digests.json": ("weights/xception-random-0", "weights"),
    DATABASE: (DATABASE, "file digests"),
}  # fmt: skip


@pytest.mark.parametrize("file", WHOLE)
def test_kinds(file: str) -> None:
    put(file)
    name, kind = WHOLE[file]
    assert found() == {name: kind}
    assert entry(name).bytes == 5
    assert entry(name).files == 1


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (f"backbones/.{GRAPH}.77/model.bin", f"backbones/.{GRAPH}.77"),
        (f"backbones/.{GRAPH}.77.0123abcd/model.bin", f"backbones/.{GRAPH}.77.0123abcd"),
        ("weights/.xception-random-0.77.0123abcd/weights.safetensors", "weights/.xception-random-0.77.0123abcd"),
        (f"compiled/{GRAPH}-bf16/1.blob", f"compiled/{GRAPH}-bf16"),  # killed before its digests were kept
        (f"finetuned/{GRAPH}.work/checkpoint-00001.safetensors", f"finetuned/{GRAPH}.work"),  # killed while training
        ("weights/xception-random-0/weights.safetensors", "weights/xception-random-0"),  # without its digest
    ],
)
def test_leftovers(file: str, name: str) -> None:
    put(file)
    assert found() == {name: "leftovers"}
    assert remove(entry(name))
    assert found() == {}
    assert not [path for path in cache_folder().rglob("*.*") if path.suffix != ".lock"]


def test_leftovers_in_a_store_are_no_part_of_it() -> None:
    name = f".{SHARD}.safetensors.77.abcdef.tmp"
    put(f"features/{STORE}/{SHARD}.safetensors", f"features/{STORE}/{name}")
    assert found() == {f"features/{STORE}": "features", f"features/{STORE}/{name}": "leftovers"}
    assert entry(f"features/{STORE}").bytes == 5
    assert remove(entry(f"features/{STORE}/{name}"))
    assert found() == {f"features/{STORE}": "features"}


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt", "photos/a.jpg", "features/cats/a.jpg", f"features/{STORE}.zip", "features/.hidden.5.tmp",
        "backbones/mine/model.bin", "compiled/mine/x.blob", "weights/mine.safetensors", f"{STORE}/x", ".ssh/key",
        f"weights/{GRAPH}/x", "backbones/.git/config",
    ],
)  # fmt: skip
def test_other_names_are_not_tlclis(name: str) -> None:
    put(name)
    assert found() == {}


def test_links_are_not_tlclis(tmp_path: Path) -> None:
    put(f"features/{STORE}/{SHARD}.safetensors")
    (tmp_path / "mine").mkdir()
    (cache_folder() / "features" / ("f" * 32)).symlink_to(tmp_path / "mine")
    assert found() == {f"features/{STORE}": "features"}


def test_the_names_that_are_written_are_recognised() -> None:
    put(f"backbones/{GRAPH}/digests.json")
    staging_path(cache_folder() / "backbones" / GRAPH).mkdir()
    with whole_file(cache_folder() / "features" / STORE / f"{SHARD}.safetensors") as temporary:
        temporary.write_bytes(b"1")
        assert found()[str(temporary.relative_to(cache_folder()))] == "leftovers"
    write_text(cache_folder() / "compiled" / f"{GRAPH}-f32" / "digests.json", "{}")
    assert sorted(found().values()) == ["compiled graphs", "converted backbones", "features", "leftovers"]


@pytest.mark.parametrize("file", [f"locks/features-{STORE}.lock", "weights/mobilenet-imagenet.sha256"])
def test_locks_and_pinned_digests_are_no_entries(file: str) -> None:
    put(file)
    assert found() == {}


@pytest.mark.parametrize("file", WHOLE)
def test_an_entry_in_use_stays(file: str) -> None:
    put(file)
    one = entry(WHOLE[file][0])
    locks.mark_in_use(one.path)
    assert not remove(one)
    assert (cache_folder() / file).exists()
    locks.release_all()
    assert remove(one)
    assert found() == {}


@pytest.mark.parametrize(
    "left",
    [
        f"backbones/.{GRAPH}.77.0123abcd/model.bin", f"features/{STORE}/.{SHARD}.safetensors.77.abcdef.tmp",
        f"compiled/{GRAPH}-bf16/1.blob",
    ],
)  # fmt: skip
def test_a_temporary_file_of_a_running_process_stays(left: str) -> None:
    put(left)
    one = next(one for one in scan(cache_folder()) if one.kind == "leftovers")
    locks.mark_in_use(one.owner)
    assert not remove(one)
    assert (cache_folder() / left).exists()


def test_a_killed_removal_leaves_no_incomplete_entry() -> None:
    put(f"features/{STORE}/{SHARD}.safetensors", f"features/{STORE}/{'b' * 64}.safetensors")
    program = (
        "import os, shutil\nfrom tlcli.system.cache.entries import remove, scan\n"
        "from tlcli.system.files import cache_folder\n"
        "shutil.rmtree = lambda *_, **__: os._exit(9)\n"
        "remove(next(one for one in scan(cache_folder()) if one.kind == 'features'))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, env={**os.environ}).returncode == 9
    assert set(found().values()) == {"leftovers"}
    for one in scan(cache_folder()):
        assert remove(one)
    assert found() == {}


def test_the_files_beside_the_database_go_with_it() -> None:
    put(DATABASE, f"{DATABASE}-journal")
    assert entry(DATABASE).bytes == 10
    assert remove(entry(DATABASE))
    assert list(cache_folder().glob("digests*")) == []
