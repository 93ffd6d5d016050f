"""The training images that a bundle carries: what new images are compared with."""

import numpy as np

from tlcli.datasets.index import Index
from tlcli.features.extractor import FeatureExtractor
from tlcli.model.bundle import Reference
from tlcli.workflows.measure import split_rows

_MOST = 1000
"""Images: 2.6 MB of efficientnet_lite0's features, 3.8 MB of DenseNet201's."""
_MEASURED = 4000
"""Images that the limit is taken from, at most."""
_WITHIN = 0.99
"""Share of training images that lie within the limit of the others."""


def reference_of(index: Index, frozen: FeatureExtractor, seed: int) -> Reference:
    """Training images, evenly of all classes, and the distance that few of them have from the nearest other one.

    The distance is the cosine one between features of length 1 (Sun et al. 2022, "Out-of-distribution detection with
    deep nearest neighbors", with k = 1); images of an image's own unit are left out, as copies would tell nothing.
    """
    from tlcli.evaluation.explain import nearest  # noqa: PLC0415 - SciPy; a wrong config is told before

    training = index.of("train")
    rows = split_rows(training, index.labels, frozen.views[:1], frozen)
    order = np.random.default_rng(seed).permutation(len(rows))
    turn = np.empty(len(rows), np.int64)  # of an image among those of its class
    for label in range(len(index.labels)):
        members = order[rows.labels[order] == label]
        turn[members] = np.arange(len(members))
    chosen = np.sort(np.lexsort((np.arange(len(rows)), turn))[:_MOST])
    features = rows.read(chosen)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.where(lengths > 0, lengths, 1)
    measured = np.sort(order[:_MEASURED])
    near = nearest(rows.read(measured), features, 1, rows.units[measured], rows.units[chosen])
    distances = 1 - near.similarities[np.isfinite(near.similarities)]
    limit = float(np.quantile(distances, _WITHIN)) if len(distances) else 2.0
    return Reference(
        features.astype(np.float16),
        rows.labels[chosen],
        tuple(training[place].name for place in chosen),
        min(max(limit, 0.0), 2.0),
    )
