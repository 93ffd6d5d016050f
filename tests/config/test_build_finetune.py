"""What fine-tuning is refused for before anything is computed, and which rows it holds out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlcli.config.build_finetune import check_finetune, fine_tune_head, held_out_rows
from tlcli.config.build_tune_finetuning import kept_for_finetuning
from tlcli.config.schema import Config
from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.errors import DataError, UsageError
from tlcli.features.rows import Rows
from tlcli.progress import SILENT
from tlcli.system.remote.path import RemotePath


def index(validation: int = 60, place: Path = Path()) -> Index:
    counts: dict[SplitName, int] = {"train": 100, "validation": validation}
    images = [
        LabelledImage(place / f"{split}{number}", f"{split}{number}", f"{split}{number}", "ab"[number % 2], split, "")
        for split, count in counts.items()
        for number in range(count)
    ]
    return Index(Path(), ("a", "b"), tuple(images), {}, ())


def config(**sections: object) -> Config:
    given = {"dataset": {"path": Path("x")}, "backbone": {"name": "efficientnet_lite0"}, "head": {"fit": "finetune"}}
    return Config.model_validate({**given, **sections})


def test_a_whole_network_reads_its_images_from_this_machine() -> None:
    whole, there = config(finetune={"blocks": "all"}), index(place=RemotePath.of("s3://bucket/images"))
    check_finetune(whole, index())
    check_finetune(config(), there)
    with pytest.raises(UsageError) as refused:
        check_finetune(whole, there)
    assert refused.value.code == "config.finetune_unsupported"


def test_few_validation_images_are_refused() -> None:
    with pytest.raises(DataError) as refused:
        check_finetune(config(), index(validation=49))
    assert refused.value.code == "data.too_few_to_prove"


def test_validation_images_that_training_repeats_prove_nothing() -> None:
    trained = rows([0, 1] * 50)
    for repeated in (11, 60):
        units = np.arange(60) + len(trained) - repeated
        with pytest.raises(DataError) as refused:
            fine_tune_head(config(), index(), None, None, trained, "none", validation_units=units)  # type: ignore[arg-type]
        assert refused.value.code == "data.too_few_to_prove"


@pytest.mark.parametrize(
    ("sections", "validation", "share"),
    [
        ({}, 60, 0.5),
        ({}, 20, 0.0),
        ({"finetune": {"blocks": "all"}}, 60, 0.0),
        ({"image": {"tiles": (2, 2)}}, 60, 0.0),
        ({"head": {"fit": "logistic_regression"}}, 60, 0.0),
        ({"backbone": {"name": "nasnet_mobile"}}, 60, 0.5),  # another network may win
    ],
)
def test_a_search_keeps_time_only_for_what_it_may_do(
    sections: dict[str, object], validation: int, share: float
) -> None:
    assert kept_for_finetuning(config(**sections), index(validation), 100, SILENT) == 100 * share


def rows(labels: Sequence[int], units: Sequence[int] | None = None) -> Rows:
    chosen = np.array(labels, np.int64)
    given = np.arange(len(labels)) if units is None else np.array(units, np.int64)
    return Rows.of(np.zeros((len(labels), 1), np.float32), chosen, given)


def test_a_fifth_of_each_class_is_held_out() -> None:
    found = rows([0] * 50 + [1] * 20)
    held = held_out_rows(found, 0)
    assert np.bincount(found.labels[held]).tolist() == [10, 4]


def test_a_class_with_fewer_than_five_units_is_trained_on_whole() -> None:
    labels = [0] * 50 + [1] * 4 + [2] * 20
    assert np.bincount(np.array(labels)[held_out_rows(rows(labels), 0)], minlength=3).tolist() == [10, 0, 4]
    for few in ([0] * 4 + [1] * 3, [0] * 50 + [1] * 4):
        with pytest.raises(DataError) as refused:
            held_out_rows(rows(few), 0)
        assert refused.value.code == "data.class_too_small"


def test_units_stay_on_one_side() -> None:
    found = rows([0, 0, 1, 2] * 20 + [3] * 4, [*np.repeat(np.arange(20), 4), 5, 100, 101, 102])
    held = held_out_rows(found, 0)
    assert held.any()
    assert not set(found.units[held]) & set(found.units[~held])
    assert not held[found.units == 5].any()  # holds an image of the small class
    again = replace(found, labels=found.labels.copy())
    assert (held_out_rows(again, 0) == held).all()
