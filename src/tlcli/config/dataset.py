"""The config's dataset section: where the images are and come from, how labels and splits are found."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tlcli.config.section import ExpandedPath, Section, Seed
from tlcli.config.sources import Source, source_is_in_place

Share = Annotated[float, Field(ge=0, le=0.9)]


def _is_pattern(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:  # a{9999999999} and a thousand brackets raise the others
        raise PydanticCustomError("pattern", "not a regular expression: {why}", {"why": str(error)}) from error
    return value


class LabelRule(Section):
    """When a row belongs to a class: every limit that is written must hold."""

    below: float | None = None
    """The cell is a number below this."""
    at_most: float | None = None
    """The cell is a number not above this."""
    above: float | None = None
    """The cell is a number above this."""
    at_least: float | None = None
    """The cell is a number not below this."""
    values: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The cell is one of these texts."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value is None for value in (self.below, self.at_most, self.above, self.at_least, self.values)):
            raise PydanticCustomError("rule", "a rule needs below, at_most, above, at_least or values")
        return self


class Labels(Section):
    """A table with one line an image."""

    file: str
    """Path of the table inside the data folder; paths of images in it are relative to its own folder."""
    path: str
    """Column with the image's path."""
    label: str
    """Column that decides the class."""
    delimiter: Literal["comma", "semicolon", "tab", "whitespace"] = "comma"
    """What stands between cells."""
    columns: tuple[str, ...] | None = None
    """Names of the columns, for a table without a header line."""
    classes: dict[str, LabelRule] = Field(default_factory=dict)
    """Class to rule, for labels that follow from a number or a group of values; rows that fit none are left out.
    Without it the label column holds the class."""
    split: str | None = None
    """Column with train, validation or test, if there is one."""
    group: str | None = None
    """Column whose equal values must stay in one split."""


class GroupBy(Section):
    """Images that belong together and must never be divided between splits (same patient, same module)."""

    folder: bool = False
    """Images in one folder are one group."""
    pattern: Annotated[str, AfterValidator(_is_pattern)] | None = None
    """Regular expression looked for in the image's path; its first group (or whole match) names the group."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.folder == (self.pattern is not None):
            raise PydanticCustomError("group_by", "write either folder: true or a pattern")
        return self


class Split(Section):
    """How splits that the data does not have are cut: by content, stratified, the same on every machine."""

    validation: Share = 0.15
    """Share of the images for validation, where the data has none for it."""
    test: Share = 0.15
    """Share for test, where the data has none for it: of its validation images where it has some, else of all."""
    seed: Seed = 0
    """Another seed, another choice."""
    group_by: GroupBy | None = None
    """What must stay together."""

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.validation + self.test > 0.9:
            raise PydanticCustomError("shares", "validation and test together may take at most 0.9 of the images")
        return self


class Limits(Section):
    """What an archive may hold; one that holds more is refused whole."""

    max_files: Annotated[int, Field(ge=1)] = 2_000_000
    """Files and folders."""
    max_gb: Annotated[float, Field(gt=0)] = 200.0
    """GB (10^9 bytes) after unpacking."""
    max_ratio: Annotated[float, Field(ge=1)] = 200.0
    """Unpacked bytes for each packed byte; archives that unpack to less than 64 MiB are free of it."""


class Dataset(Section):
    """The images."""

    path: ExpandedPath | None = None
    """Folder where the data set lies, or is put by fetch. Not needed for sources that are used where they are."""
    sources: tuple[Source, ...] = ()
    """Where it comes from; the first that works is used."""
    licence: str | None = None
    """Under what terms the images may be used; fetch shows it and keeps it beside them."""
    citation: str | None = None
    """What to cite; fetch shows it."""
    limits: Limits = Limits()
    """What an archive may hold."""
    layout: Literal["auto", "class_folders", "split_folders"] = "auto"
    """class_folders: one folder a class. split_folders: train, validation, test folders (val, valid) with class folders
    in them. auto: split_folders where there are some."""
    labels: Labels | None = None
    """A labels table instead of class folders."""
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """The classes to use, in this order (with two, the second is the positive one). Default: all, sorted by name."""
    split: Split = Split()
    """How missing splits are cut."""
    exclude: ExpandedPath | None = None
    """A text file that names images to leave out, one a line, as inspect --write-exclude writes it; lines that begin
    with # are comments."""
    on_bad_image: Literal["skip", "fail"] = "skip"
    """An image that cannot be read is left out and named in the run, or stops it. It is never changed or deleted."""
    max_bad_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Above this share of unreadable images training stops."""

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.path is None and not any(source_is_in_place(source) for source in self.sources):
            raise PydanticCustomError("place", "set path to the folder of the images (fetch puts them there)")
        return self
