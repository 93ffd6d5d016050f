"""Where a data set may come from: one class a kind of source, told apart by its first key."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from tlcli.config.section import ExpandedPath, Section


def _stays_below(value: str) -> str:
    if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
        raise PydanticCustomError("below", "a path below the data set, without .. and without / at its start")
    return value


def _holds_no_password(value: str) -> str:
    if "@" in value.split("/")[2]:
        raise PydanticCustomError(
            "password",
            "an address here holds no user and password, as it is written into every run; put them into ~/.netrc",
        )
    return value


Subdir = Annotated[str, AfterValidator(_stays_below)]
FileName = Annotated[str, Field(min_length=1), AfterValidator(_stays_below)]


class Copied(Section):
    """What all sources have in common that are copied to ``dataset.path``."""

    subdir: Subdir = ""
    """Folder inside the archive that is taken; empty takes all."""
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """Digest the archive must have."""
    size: Annotated[int | None, Field(ge=1)] = None
    """Bytes the archive must have."""


class _OnKaggle(Copied):
    """A download from Kaggle: all files in one archive, or some of them."""

    files: tuple[FileName, ...] = ()
    """Only these files, each named as on Kaggle's page; archives among them are unpacked. Default: all files."""

    @model_validator(mode="after")
    def _one_digest_for_one_file(self) -> Self:
        if len(self.files) > 1 and (self.sha256 or self.size):
            raise PydanticCustomError("files", "sha256 and size are those of one archive; leave them out for several")
        return self


class KaggleSource(_OnKaggle):
    """A data set on Kaggle; public ones need no token."""

    kaggle: Annotated[str, Field(pattern=r"^[\w-]+/[\w-]+$")]
    """Owner and name, as in the page's address: pmigdal/alien-vs-predator-images."""
    version: Annotated[int | None, Field(ge=1)] = None
    """The version that is fetched. Default: the newest."""


class CompetitionSource(_OnKaggle):
    """The data of a Kaggle competition; it needs a token, and the rules accepted on the competition's page."""

    competition: Annotated[str, Field(pattern=r"^[\w-]+$")]
    """Name, as in the page's address: dogs-vs-cats-redux-kernels-edition."""


class UrlSource(Copied):
    """An archive (zip, tar.gz, tar.xz, tar.zst, tar.bz2) at a web address."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+/\S+$"), AfterValidator(_holds_no_password)]
    """Address, https preferred."""


class ArchiveSource(Copied):
    """An archive (zip, tar, tar.gz, tar.xz, tar.zst, tar.bz2) on this machine."""

    archive: ExpandedPath
    """Path of the file."""


class FolderSource(Section):
    """A folder on this machine, used where it is."""

    folder: ExpandedPath
    """Path of the folder."""
    subdir: Subdir = ""
    """Folder below it that is taken."""
    link: bool = False
    """Put a symbolic link to it at dataset.path."""


class PackageSource(Section):
    """An installed Python package that carries images, used where it is; nothing of it is imported."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """Name as pip knows it."""
    subdir: Subdir = ""
    """Folder among the package's installed files."""


KINDS = ("kaggle", "competition", "url", "archive", "folder", "package")


def source_is_in_place(source: object) -> bool:
    """Whether a source is used where it is (folder, package) instead of being copied to ``dataset.path``."""
    return hasattr(source, "package") or (hasattr(source, "folder") and not getattr(source, "link", False))


def kind_of(value: Any) -> str | None:
    """The key that says which kind of source this is, written as YAML or read."""
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", ())  # ours, or a text in its place
    return next((kind for kind in KINDS if kind in keys), None)


Source = Annotated[
    Annotated[KaggleSource, Tag("kaggle")]
    | Annotated[CompetitionSource, Tag("competition")]
    | Annotated[UrlSource, Tag("url")]
    | Annotated[ArchiveSource, Tag("archive")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[PackageSource, Tag("package")],
    Discriminator(
        kind_of,
        custom_error_type="source",
        custom_error_message=f"A source is a mapping with one of the keys {', '.join(map(repr, KINDS))}",
    ),
]
