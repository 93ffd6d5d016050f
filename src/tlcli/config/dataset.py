"""The dataset section of a config: where the images are and come from, how labels and splits are determined."""

import re
import unicodedata
from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tlcli.config.section import ExpandedPath, ImagesPath, Section, Seed, is_encoding
from tlcli.config.sources import Source, is_used_in_place

FolderNames = Annotated[
    tuple[str, ...], Field(min_length=1), BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
Fraction = Annotated[float, Field(ge=0, le=0.9)]


def _is_pattern(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:  # a{9999999999} and a thousand brackets raise the others
        raise PydanticCustomError(
            "invalid_pattern", "Not a regular expression: {reason}.", {"reason": str(error)}
        ) from error
    return value


class LabelRule(Section):
    """Which rows belong to a class: those that satisfy every condition that is set."""

    below: float | None = None
    """The cell is a number < this value."""
    at_most: float | None = None
    """The cell is a number <= this value."""
    above: float | None = None
    """The cell is a number > this value."""
    at_least: float | None = None
    """The cell is a number >= this value."""
    values: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The cell is one of these texts."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if all(value is None for value in (self.below, self.at_most, self.above, self.at_least, self.values)):
            raise PydanticCustomError("empty_rule", "A rule needs below, at_most, above, at_least or values.")
        return self


def _is_label_pattern(value: str) -> str:
    groups = re.compile(_is_pattern(value)).groupindex
    if "label" not in groups or not set(groups) <= {"label", "split", "group"}:
        raise PydanticCustomError(
            "invalid_pattern", "A pattern needs the named group (?P<label>...); split and group are the others allowed."
        )
    return value


def _names_each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    composed = tuple(unicodedata.normalize("NFC", name) for name in names)  # as data sets are read
    twice = [name for name, count in Counter(composed).items() if count > 1]
    if twice:
        raise PydanticCustomError("duplicate_class", "The class '{name}' is named twice.", {"name": twice[0]})
    return composed


class Labels(Section):
    """Labels that are not folders: a table with one row per image, or a pattern on the names of the images."""

    file: str | None = None
    """Path of the table inside the data set."""
    path: str | None = None
    """Column with the path of the image."""
    label: str | None = None
    """Column with the label, or with the value that classes are derived from."""
    class_columns: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_names_each_once)] | None = None
    """Instead of label: columns of 0 and 1 (one-hot), each named after its class."""
    folder: str | None = None
    """Folder of the images inside the data set. Default: paths in the table are relative to the folder of the table."""
    delimiter: Literal["auto", "comma", "semicolon", "tab", "whitespace"] = "auto"
    """Separator of the columns. auto: the one with which the first line has the columns that are named here."""
    encoding: Annotated[str, AfterValidator(is_encoding)] = "utf-8"
    """Text encoding of the table."""
    columns: tuple[str, ...] | None = None
    """Names of the columns, for a table without a header."""
    classes: dict[str, LabelRule] = Field(default_factory=dict)
    """Rule for each class, where classes are derived from a number or a set of values; rows that match no rule are
    skipped and counted. Default: the label column contains the class."""
    split: str | None = None
    """Column with the split: train, validation or test; or true and false in a column named like is_valid. Default:
    split folders that the images are in, if any."""
    group: str | None = None
    """Column with the group of an image: images with equal values stay in one split."""
    pattern: Annotated[str, AfterValidator(_is_label_pattern)] | None = None
    """Instead of a table: regular expression searched in the path of each image, as in (?P<label>cat|dog). The groups
    split and group are optional; images that do not match are left out and counted."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.pattern is not None:
            if of_table := sorted(self.model_fields_set - {"pattern", "classes"}):
                raise PydanticCustomError(
                    "wrong_labels", "pattern cannot be combined with {names}.", {"names": ", ".join(of_table)}
                )
        elif self.file is None or self.path is None or (self.label is None) == (self.class_columns is None):
            raise PydanticCustomError(
                "wrong_labels", "Set file, path, and either label or class_columns; or a pattern."
            )
        elif self.class_columns and self.classes:
            raise PydanticCustomError("wrong_labels", "classes are rules on the column label, not on class_columns.")
        return self


class GroupBy(Section):
    """Which images belong together and stay in one split (same patient, same module)."""

    folder: bool = False
    """Images of one folder are a group."""
    pattern: Annotated[str, AfterValidator(_is_pattern)] | None = None
    """Regular expression searched in the path of an image; its first group, or the whole match, names the group."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.folder == (self.pattern is not None):
            raise PydanticCustomError("wrong_group_by", "Set either folder: true or a pattern.")
        return self


class Split(Section):
    """How splits that the data set lacks are drawn: by image content, stratified, the same on every machine."""

    validation: Fraction = 0.15
    """Fraction of the images for validation, where the data set has no such split."""
    test: Fraction = 0.15
    """Fraction for test, where the data set has no such split: of its validation split where there is one, else of all
    images."""
    seed: Seed = 0
    """Another seed gives another split."""
    group_by: GroupBy | None = None
    """Which images stay in one split. Default: only exact copies of one another."""

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.validation + self.test > 0.9:
            raise PydanticCustomError("fractions_too_large", "validation and test together can be at most 0.9.")
        return self


class Limits(Section):
    """Limits of an archive; one that exceeds them is refused as a whole."""

    max_files: Annotated[int, Field(ge=1)] = 2_000_000
    """Maximum number of files and folders."""
    max_gb: Annotated[float, Field(gt=0)] = 200.0
    """Maximum size after unpacking, in GB (10^9 bytes)."""
    max_ratio: Annotated[float, Field(ge=1)] = 200.0
    """Maximum compression ratio, in unpacked bytes per packed byte; not applied to archives below 64 MiB unpacked."""


class Dataset(Section):
    """The images, their labels and splits."""

    path: ImagesPath | None = None
    """Folder of the data set, which fetch creates. Not needed for sources that are used in place. Or an address: s3://,
    gs://, az:// (the extra remote); or a manifest, here, there or at https://: a .csv or .parquet file with the columns
    uri and label, and split, group and sha256 where they are known."""
    sources: tuple[Source, ...] = ()
    """Where fetch gets it; the first source that works is used."""
    licence: str | None = None
    """Licence of the images; fetch prints it and saves it with them."""
    citation: str | None = None
    """Reference to cite; fetch prints it."""
    limits: Limits = Limits()
    """Limits of the archives that fetch unpacks."""
    layout: Literal["auto", "class_folders", "split_folders"] = "auto"
    """class_folders: one folder per class. split_folders: folders train, validation (or val, valid) and test with class
    folders inside, or inside each class folder. auto: split_folders where such folders exist, else class_folders."""
    split_folders: dict[Literal["train", "validation", "test"], FolderNames] | None = None
    """Names of the split folders, where they are not the usual ones, as in {train: part1, test: [part2, part3]}."""
    labels: Labels | None = None
    """A table of labels instead of class folders."""
    classes: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_names_each_once)] | None = None
    """Classes to use, in this order; of two classes the second is the positive one. Default: all, sorted by name."""
    min_images_per_class: Annotated[int, Field(ge=1)] | None = None
    """Leave out classes with fewer images than this, and list them. Default: such classes are an error."""
    split: Split = Split()
    """How missing splits are drawn."""
    exclude: ExpandedPath | None = None
    """Text file with images to leave out, one path per line, as inspect --write-exclude writes it; lines that begin
    with # are comments. Images excluded because of their label are not trained on, but measured on."""
    corrections: ExpandedPath | None = None
    """CSV file of decisions on doubted labels, as inspect --write-labels and its page write it. Training uses the
    corrected labels; the stated figures are by the labels of the data. Test images keep theirs."""
    on_bad_image: Literal["skip", "fail"] = "skip"
    """skip: leave out unreadable images and list them in the run. fail: stop. Files are never changed."""
    max_bad_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Maximum fraction of unreadable images; above it training stops. A single one is allowed unless this is 0."""

    @model_validator(mode="after")
    def _splits_by_folders_or_labels(self) -> Self:
        if self.split_folders and (self.labels is not None or self.layout == "class_folders"):
            raise PydanticCustomError(
                "wrong_split_folders", "split_folders cannot be combined with labels or layout: class_folders."
            )
        return self

    @model_validator(mode="after")
    def _manifest_says_all(self) -> Self:
        has_layout = self.labels is not None or self.split_folders is not None or self.layout != "auto"
        if self.path is not None and self.path.suffix.lower() in (".csv", ".parquet") and has_layout:
            raise PydanticCustomError(
                "manifest_and_labels",
                "A manifest as dataset.path says labels and splits: leave out labels, split_folders and layout; or set "
                "path to a folder, and labels.file to a table in it.",
            )
        return self

    @model_validator(mode="after")
    def _has_a_path(self) -> Self:
        if self.path is None and not any(is_used_in_place(source) for source in self.sources):
            raise PydanticCustomError("no_path", "Set path to the folder of the images, where fetch puts them.")
        return self
