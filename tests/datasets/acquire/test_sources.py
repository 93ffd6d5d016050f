"""Sources on this machine: archives, folders, installed packages."""

import sys
from pathlib import Path

import PIL
import pytest

from tlcli.datasets.acquire.sources import archive, folder, package
from tlcli.errors import DataError
from tlcli.system.files import sha256_file


def test_archive_is_known_by_size_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"content")

    receipt = archive.check(path, 7, sha256_file(path))

    assert (receipt.size, receipt.sha256) == (7, sha256_file(path))
    with pytest.raises(DataError, match=r"another file than expected \(7 bytes, expected 8\)"):
        archive.check(path, 8)
    with pytest.raises(DataError, match=rf"another file than expected \(sha256 {receipt.sha256}, expected 000"):
        archive.check(path, None, "0" * 64)
    with pytest.raises(DataError, match=r"There is no archive .*b\.zip"):
        archive.check(tmp_path / "b.zip")


def test_folder_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "sub" / "dir").mkdir(parents=True)

    assert folder.locate(tmp_path, "") == tmp_path
    assert folder.locate(tmp_path, "sub/dir") == tmp_path / "sub" / "dir"
    with pytest.raises(DataError, match=r"The folder .*sub/other is not there"):
        folder.locate(tmp_path, "sub/other")


def test_folder_is_linked_and_linking_again_changes_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "data" / "images"
    source.mkdir()

    folder.link(source, target)
    folder.link(source, target)

    assert target.is_symlink()
    assert target.resolve() == source


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_link_takes_no_place_that_is_taken(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "source", tmp_path / "images"
    source.mkdir()
    if kind == "file":
        target.touch()
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to("elsewhere")

    with pytest.raises(DataError, match="is there already, so it cannot become a link"):
        folder.link(source, target)


def test_system_without_links_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)

    with pytest.raises(DataError, match=r"\(Operation not permitted\); leave out link: true"):
        folder.link(tmp_path, tmp_path / "link")


def test_package_is_found_by_its_name_in_pip() -> None:
    assert package.locate("pillow", "PIL") == Path(PIL.__file__).parent
    assert package.version("pillow") == PIL.__version__


def test_package_that_is_not_installed_names_the_command_for_this_python() -> None:
    with pytest.raises(
        DataError, match=r"'no-such-package' is not installed; run: .* -m pip install no-such-package"
    ) as e:
        package.locate("no-such-package", "")
    assert sys.executable in str(e.value)


def test_package_without_the_folder_names_where_it_looked() -> None:
    with pytest.raises(DataError, match=r"The package 'pillow' has no folder 'PIL/images' \(looked for .*PIL/images"):
        package.locate("pillow", "PIL/images")
