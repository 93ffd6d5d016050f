"""Sources on this machine: archives, folders, installed packages; and what Kaggle needs."""

import errno
import zipfile
from pathlib import Path

import PIL
import pytest

from tlcli.data.sources import archive, folder, kaggle, package
from tlcli.errors import DataError, NetworkError, ResourceError
from tlcli.progress import Progress

FILES = {"top/train/a.txt": b"a", "top/train/b.txt": b"b", "top/readme": b""}


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """An archive of three small files."""
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for name, data in FILES.items():
            opened.writestr(name, data)
    return path


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Where the data set goes; its parent is not there yet."""
    return tmp_path / "data" / "pictures"


def below(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*")}


def test_archive_appears_whole_at_its_destination(zipped: Path, destination: Path) -> None:
    archive.fetch(zipped, destination)

    assert {path for path in below(destination) if (destination / path).is_file()} == set(FILES)
    assert below(destination.parent) == {"pictures", *(f"pictures/{path}" for path in below(destination))}


def test_archive_takes_a_subdir_and_tells_its_progress(zipped: Path, destination: Path) -> None:
    class Counting(Progress):
        steps = 0

        def advance(self, steps: int = 1) -> None:
            self.steps += steps

    progress = Counting()

    archive.fetch(zipped, destination, ("top/train",), progress)

    assert below(destination) == {"a.txt", "b.txt"}
    assert progress.steps == 2


def test_archive_fills_an_empty_folder(zipped: Path, destination: Path) -> None:
    destination.mkdir(parents=True)

    archive.fetch(zipped, destination, ("top/train",))

    assert below(destination) == {"a.txt", "b.txt"}


def test_archive_follows_a_link_to_an_empty_folder(zipped: Path, destination: Path, tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir()
    destination.parent.mkdir()
    destination.symlink_to(tmp_path / "big disk", target_is_directory=True)

    archive.fetch(zipped, destination, ("top/train",))

    assert destination.is_symlink()
    assert below(tmp_path / "big disk") == {"a.txt", "b.txt"}


def test_archive_leaves_somebodys_files_alone(zipped: Path, destination: Path) -> None:
    destination.mkdir(parents=True)
    (destination / "mine.txt").write_text("mine")

    with pytest.raises(DataError, match=r"pictures already holds files; they stay as they are.*dataset\.path"):
        archive.fetch(zipped, destination)
    assert below(destination.parent) == {"pictures", "pictures/mine.txt"}
    assert (destination / "mine.txt").read_text() == "mine"


def test_archive_does_not_replace_a_file(zipped: Path, destination: Path) -> None:
    destination.parent.mkdir()
    destination.write_text("mine")

    with pytest.raises(DataError, match="is a file where a folder is needed"):
        archive.fetch(zipped, destination)
    assert destination.read_text() == "mine"


@pytest.mark.parametrize("there", [True, False])
def test_refused_archive_leaves_nothing_behind(zipped: Path, destination: Path, there: bool) -> None:
    with zipfile.ZipFile(zipped, "a") as opened:
        opened.writestr("../evil.txt", b"evil")
    if there:
        destination.mkdir(parents=True)

    with pytest.raises(DataError, match="leads outside"):
        archive.fetch(zipped, destination)
    assert below(destination.parent) == ({"pictures"} if there else set())


def test_archive_damaged_in_its_last_file_leaves_nothing_behind(zipped: Path, destination: Path) -> None:
    zipped.write_bytes(zipped.read_bytes().replace(b"b.txtb", b"b.txtX"))  # the content, right after the name

    with pytest.raises(DataError, match="Bad CRC-32"):
        archive.fetch(zipped, destination)
    assert below(destination.parent) == set()


def test_interrupted_archive_leaves_nothing_behind(zipped: Path, destination: Path) -> None:
    class Interrupting(Progress):
        def advance(self, steps: int = 1) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.fetch(zipped, destination, progress=Interrupting())
    assert below(destination.parent) == set()


def test_full_disk_is_told_and_leaves_nothing_behind(
    zipped: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_archive: Path, target: Path, *_: object, **__: object) -> None:
        (target / "half").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(archive, "unpack", full)

    with pytest.raises(ResourceError, match=f"The disk is full: {destination} could not be written"):
        archive.fetch(zipped, destination)
    assert below(destination.parent) == set()


def test_folder_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "sub" / "dir").mkdir(parents=True)

    assert folder.locate(tmp_path, "") == tmp_path
    assert folder.locate(tmp_path, "sub/dir") == tmp_path / "sub" / "dir"
    with pytest.raises(DataError, match=r"The folder .*sub/other is not there"):
        folder.locate(tmp_path, "sub/other")


def test_package_is_found_by_its_name_in_pip() -> None:
    assert package.locate("pillow", "PIL") == Path(PIL.__file__).parent


def test_package_that_is_not_installed_names_the_command() -> None:
    with pytest.raises(DataError, match="'no-such-package' is not installed; run: pip install no-such-package"):
        package.locate("no-such-package", "")


def test_package_without_the_folder_names_where_it_looked() -> None:
    with pytest.raises(
        DataError, match=r"The package 'pillow' has no folder 'PIL/pictures' \(looked for .*PIL/pictures"
    ):
        package.locate("pillow", "PIL/pictures")


def test_kaggle_explains_the_way_by_hand() -> None:
    error = kaggle.explain("pmigdal/alien-vs-predator-images", "my.yaml")

    assert isinstance(error, NetworkError)
    assert "https://www.kaggle.com/datasets/pmigdal/alien-vs-predator-images" in str(error)
    assert "tlcli fetch --config my.yaml --from PATH/TO/archive.zip" in str(error)
