"""Sources on this machine: archives, folders, installed packages."""

import sys
from collections.abc import Callable
from pathlib import Path

import PIL
import pytest

from tlcli.datasets.acquire.sources import archive, folder, package
from tlcli.errors import DataError
from tlcli.system.files import sha256_file


def code(call: Callable[[], object]) -> str:
    """The code of the error that a call raises."""
    with pytest.raises(DataError) as caught:
        call()
    return caught.value.code


def test_archive_is_known_by_size_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"content")

    receipt = archive.check_archive(path, 7, sha256_file(path))

    assert (receipt.size, receipt.sha256) == (7, sha256_file(path))
    assert code(lambda: archive.check_archive(path, 8)) == "data.size_mismatch"
    assert code(lambda: archive.check_archive(path, None, "0" * 64)) == "data.digest_mismatch"
    assert code(lambda: archive.check_archive(tmp_path / "b.zip")) == "data.archive_not_found"


def test_folder_is_used_in_place(tmp_path: Path) -> None:
    (tmp_path / "sub" / "dir").mkdir(parents=True)

    assert folder.locate(tmp_path, "") == tmp_path
    assert folder.locate(tmp_path, "sub/dir") == tmp_path / "sub" / "dir"
    assert code(lambda: folder.locate(tmp_path, "sub/other")) == "data.folder_not_found"


def test_folder_is_linked_and_linking_again_changes_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "data" / "images"
    source.mkdir()

    folder.link(source, target)
    folder.link(source, target)

    assert target.is_symlink()
    assert target.resolve() == source


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_link_replaces_nothing(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "source", tmp_path / "images"
    source.mkdir()
    if kind == "file":
        target.touch()
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to("elsewhere")

    assert code(lambda: folder.link(source, target)) == "data.folder_occupied"


def test_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)

    assert code(lambda: folder.link(tmp_path, tmp_path / "link")) == "data.link_failed"


def test_package_is_found_by_its_name_in_pip() -> None:
    assert package.locate("pillow", "PIL") == Path(PIL.__file__).parent


def test_package_that_is_not_installed_names_the_command_for_this_python() -> None:
    with pytest.raises(DataError) as caught:
        package.locate("no-such-package", "")
    assert caught.value.code == "data.package_not_installed"
    assert f"{sys.executable} -m pip install no-such-package" in caught.value.hint


def test_package_without_the_folder() -> None:
    assert code(lambda: package.locate("pillow", "PIL/images")) == "data.folder_not_found"
