"""Which images of an external test set are duplicates of training images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlcli.datasets.index import Index, LabelledImage
from tlcli.features.extractor import FeatureExtractor
from tlcli.model.reference import Reference
from tlcli.progress import Progress
from tlcli.runs.external import LeakCheck, TrainingDuplicate
from tlcli.runs.images import RecordedImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def check_leaks(
    index: Index, predicted: "NDArray[np.int64]", reference: Reference, recorded: Sequence[RecordedImage],
    readable: Sequence[LabelledImage], extractor: FeatureExtractor, progress: Progress,
) -> LeakCheck:  # fmt: skip
    """Duplicates of training images: exact ones by digest; near ones by the training images where these are readable,
    else by the features that the model carries.

    Args:
        index: the external test set, N images.
        predicted: the classes answered for its images [N].
        reference: of the model.
        recorded: all images of the run.
        readable: its training images that are still readable.
        extractor: computes their features.
        progress: receives the stages.
    """
    from tlcli.evaluation.assessment import (  # noqa: PLC0415 - with SciPy
        DuplicatePair,
        train_test_duplicates,
        without_duplicates,
    )  # fmt: skip

    images, training = index.images, [one for one in recorded if one.is_fitted]
    rows = extractor.rows(images, index.labels, blocks=extractor.last)
    correct = predicted == rows.labels
    bad = extractor.extract([(readable, extractor.views[:1])], progress).bad if readable else {}
    there = [one for one in readable if one.sha256 not in bad]
    names = {one.sha256: one.path for one in training}
    pairs = {one.name: DuplicatePair(one.name, names[one.sha256], "exact") for one in images if one.sha256 in names}
    suspected: list[TrainingDuplicate] = []
    if there:
        both = (*images, *there)
        confirmed = train_test_duplicates(
            both,
            extractor.rows(both, index.labels, blocks=extractor.last),
            extractor.decoder.preparation,
            extractor.store.key,
            correct,
            progress,
        )
        for pair in confirmed.pairs:
            pairs.setdefault(pair.test, pair)
    else:
        numbers = reference.versions(rows.features())
        suspected = [
            TrainingDuplicate(one.name, reference.names[number], "suspected")
            for one, number in zip(images, numbers, strict=True)
            if number >= 0 and one.name not in pairs
        ]
    found = without_duplicates(list(pairs.values()), [one.name for one in images], correct, rows.units)
    return LeakCheck(
        pairs=(*(TrainingDuplicate(pair.test, pair.train, pair.kind) for pair in found.pairs), *suspected),
        near_by="images" if there else "features",
        compared=len(there) if there else len(reference.names),
        trained=len(training),
        n_without=found.n_without,
        accuracy_without=found.accuracy_without,
        accuracy_without_ci95=found.accuracy_without_ci95,
    )
