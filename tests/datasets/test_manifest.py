import csv
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.image_fixtures import Put

from object_server import ObjectServer
from tlcli.config.build_dataset import dataset_index, dataset_scan
from tlcli.config.dataset import Dataset
from tlcli.datasets.manifest import scan_manifest
from tlcli.errors import DataError
from tlcli.system.remote.path import RemotePath

Write = Callable[..., Path]


@pytest.fixture(params=["csv", "parquet"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """``write(rows, names)``: a manifest in both formats."""

    def written(rows: Sequence[Sequence[str | None]], names: Sequence[str] = ("uri", "label")) -> Path:
        path = tmp_path / f"images.{request.param}"
        if request.param == "csv":
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([names, *rows])
        else:
            columns = zip(*rows, strict=True) if rows else [[]] * len(names)
            parquet.write_table(
                pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)}), path
            )
        return path

    return written


def test_relative_and_absolute_rows_are_read_with_splits_groups_and_digests(write: Write, tmp_path: Path) -> None:
    digest = "AB" * 32
    path = write(
        [
            ("a/1.jpg", "cat", "train", "p1", digest),
            ("s3://b/x//2.jpg", "dog", "validation", "p2", ""),
            ("https://h/3.jpg?X-Amz-Signature=s", "cat", "test", "p1", None),
        ],
        ("uri", "label", "split", "group", "sha256"),
    )
    scan = scan_manifest(path, None)
    assert [str(file.path) for file in scan.files] == [
        str(tmp_path / "a/1.jpg"), "s3://b/x/2.jpg", "https://h/3.jpg",
    ]  # fmt: skip
    assert [(file.label, file.split, file.group) for file in scan.files] == [
        ("cat", "train", "p1"), ("dog", "validation", "p2"), ("cat", "test", "p1"),
    ]  # fmt: skip
    assert scan.digests == {tmp_path / "a/1.jpg": digest.lower()}
    remote = [file.path for file in scan.files[1:]]
    assert all(isinstance(one, RemotePath) for one in remote)
    assert [one.address for one in remote if isinstance(one, RemotePath)] == [
        "s3://b/x//2.jpg", "https://h/3.jpg?X-Amz-Signature=s",
    ]  # fmt: skip


def test_rows_without_a_class_or_of_another_are_counted(write: Write) -> None:
    scan = scan_manifest(write([("1.jpg", "cat"), ("2.jpg", ""), ("3.jpg", "dog"), ("4.jpg", "cow")]), ["cat", "dog"])
    assert [file.label for file in scan.files] == ["cat", "dog"]
    assert [one.count for one in scan.left_out] == [2]


@pytest.mark.parametrize(
    ("rows", "names", "code"),
    [
        ([("1.jpg", "cat")], ("path", "label"), "data.label_table_column_missing"),
        ([("1.jpg", "cat"), ("1.jpg", "cat")], ("uri", "label"), "data.duplicate_row"),
        ([("https://h/1.jpg?a", "cat"), ("https://h/1.jpg?b", "cat")], ("uri", "label"), "data.duplicate_row"),
        ([("", "cat")], ("uri", "label"), "data.label_table_malformed"),
        ([("1.jpg", "")], ("uri", "label"), "data.label_table_without_labels"),
        ([("1.jpg", "cat", "third")], ("uri", "label", "split"), "data.unknown_split"),
        ([("1.jpg", "cat", "12")], ("uri", "label", "sha256"), "data.label_table_malformed"),
    ],
)
def test_malformed_manifests_are_refused(
    rows: Sequence[Sequence[str]], names: Sequence[str], code: str, write: Write
) -> None:
    with pytest.raises(DataError) as raised:
        scan_manifest(write(rows, names), None)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.csv", b"uri,label\n1.jpg,cat,3\n", "data.label_table_malformed"),
        ("a.csv", b"uri,label\n\xff.jpg,cat\n", "data.label_table_malformed"),
        ("a.csv", b'uri,label\n"1.jpg,cat\n', "data.label_table_malformed"),
        ("a.csv", b"", "data.label_table_column_missing"),
        ("a.parquet", b"PAR1 and no more", "data.label_table_malformed"),
    ],
)
def test_broken_files_are_refused(name: str, data: bytes, code: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as raised:
        scan_manifest(tmp_path / name, None)
    assert raised.value.code == code


def test_an_index_of_local_rows_is_that_of_files(write: Write, tmp_path: Path, put: Put) -> None:
    rows = []
    for number in range(12):
        put(tmp_path / f"{number}.png", number)
        split = ("train", "train", "validation", "test")[number // 3]
        rows.append((f"{number}.png", "ab"[number % 2], split))
    path = write(rows, ("uri", "label", "split"))
    index = dataset_index(Dataset(path=path), [])
    assert [image.name for image in index.images] == [f"{number}.png" for number in range(12)]
    assert index.images[3].sha256 == hashlib.sha256((tmp_path / "3.png").read_bytes()).hexdigest()
    assert len(index.of("train")) == 6


def test_a_remote_manifest_is_read_with_rows_relative_to_it(
    object_server: ObjectServer, put: Put, tmp_path: Path
) -> None:
    rows = ["uri,label"]
    for number in range(20):
        object_server.objects[f"b/set/images/{number}.png"] = put(tmp_path / "one.png", number).read_bytes()
        rows.append(f"images/{number}.png,{'ab'[number % 2]}")
    object_server.objects["b/set/images.csv"] = "\n".join(rows).encode()
    del object_server.objects["b/set/images/7.png"]
    index = dataset_index(Dataset(path="s3://b/set/images.csv"), [])  # type: ignore[arg-type]
    assert len(index.images) == 19
    assert list(index.bad) == ["images/7.png"]
    before = sum(object_server.requests.values())
    again = dataset_index(Dataset(path="s3://b/set/images.csv"), [])  # type: ignore[arg-type]
    assert again.digest() == index.digest()
    assert sum(object_server.requests.values()) == before + 1  # the manifest


def test_class_folders_of_a_bucket_are_read_as_those_of_a_disk_and_listed_once(
    object_server: ObjectServer,
    put: Put,
    tmp_path: Path,
) -> None:
    from tests.remote import forget

    for label in ("bright", "dark"):
        for split, count in (("train", 6), ("test", 3)):
            for number in range(count):
                path = put(tmp_path / "data" / split / label / f"{number}.png", len(object_server.objects))
                object_server.objects[f"b/data/{split}/{label}/{number}.png"] = path.read_bytes()
    (tmp_path / "data/notes.txt").write_bytes(b"notes")
    object_server.objects["b/data/notes.txt"] = b"notes"
    here, there = (dataset_index(Dataset(path=path), []) for path in (tmp_path / "data", "s3://b/data"))  # type: ignore[arg-type]
    assert there.digest() == here.digest()
    assert [image.name for image in there.images] == [image.name for image in here.images]
    assert [one.count for one in there.left_out] == [one.count for one in here.left_out]
    object_server.objects["b/data/train/dark/new.png"] = object_server.objects["b/data/train/dark/1.png"]
    lists = object_server.requests["GET b"]
    forget()
    dataset = Dataset(path="s3://b/data")  # type: ignore[arg-type]
    assert len(dataset_scan(dataset, []).files) == 18
    assert object_server.requests["GET b"] == lists
    forget()
    assert len(dataset_scan(dataset, [], verify=True).files) == 19
    object_server.objects.clear()
    for again in (True, False):  # what was listed before is forgotten, in this process and the next
        with pytest.raises(DataError) as raised:
            dataset_scan(dataset, [], verify=again)
        assert raised.value.code == "data.images_missing"
        assert not RemotePath.of("s3://b/data/notes.txt").exists()
        forget()


def test_a_row_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("uri,label\n\nhttps://h/a.jpg?sig=SECRET,cat\n\n\nhttps://h/a.jpg?sig=SECRET,dog\n")
    with pytest.raises(DataError) as raised:
        scan_manifest(tmp_path / "m.csv", None)
    assert "m.csv:6:" in raised.value.message
    assert "line 3" in raised.value.message
    assert "SECRET" not in raised.value.message


@pytest.mark.parametrize(
    ("path", "code"), [("https://h/folder", "data.no_listing"), ("s3://b/nothing", "data.images_missing")]
)
def test_addresses_without_images_are_refused(path: str, code: str, object_server: ObjectServer) -> None:
    with pytest.raises(DataError) as raised:
        dataset_scan(Dataset(path=path), [])  # type: ignore[arg-type]
    assert raised.value.code == code
