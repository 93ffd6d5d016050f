"""Where a data set may come from: one class a kind of source, told apart by its first key."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from tlcli.config.section import ExpandedPath, Section


class KaggleSource(Section):
    """A data set on Kaggle."""

    kaggle: Annotated[str, Field(pattern=r"^[\w-]+/[\w-]+$")]
    """Owner and name, as in the page's address: pmigdal/alien-vs-predator-images."""
    subdir: str = ""
    """Folder inside the archive that is taken; empty takes all."""


class UrlSource(Section):
    """An archive (zip, tar.gz, tar.xz, tar.bz2) at a web address."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+/\S+$")]
    """Address, https preferred."""
    subdir: str = ""
    """Folder inside the archive that is taken; empty takes all."""
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """Digest the archive must have."""


class ArchiveSource(Section):
    """An archive (zip, tar, tar.gz, tar.xz, tar.bz2) on this machine."""

    archive: ExpandedPath
    """Path of the file."""
    subdir: str = ""
    """Folder inside the archive that is taken; empty takes all."""


class FolderSource(Section):
    """A folder on this machine, used where it is."""

    folder: ExpandedPath
    """Path of the folder."""
    subdir: str = ""
    """Folder below it that is taken."""


class PackageSource(Section):
    """An installed Python package that carries pictures, used where it is; nothing of it is imported."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """Name as pip knows it."""
    subdir: str = ""
    """Folder among the package's installed files."""


KINDS = ("kaggle", "url", "archive", "folder", "package")


def _kind(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", ())  # ours, or a text in its place
    return next((kind for kind in KINDS if kind in keys), None)


Source = Annotated[
    Annotated[KaggleSource, Tag("kaggle")]
    | Annotated[UrlSource, Tag("url")]
    | Annotated[ArchiveSource, Tag("archive")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[PackageSource, Tag("package")],
    Discriminator(
        _kind,
        custom_error_type="source",
        custom_error_message=f"A source is a mapping with one of the keys {', '.join(map(repr, KINDS))}",
    ),
]
