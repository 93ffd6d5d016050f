"""Features: the frozen pass alone, whole or in parts, so that train computes nothing afterwards."""

from dataclasses import dataclass

from tlcli.config.build_features import opener_for
from tlcli.config.build_units import WHOLE, Shard, UnitPass, unit_pass
from tlcli.config.load import LoadedConfig
from tlcli.datasets.index import Index
from tlcli.progress import SILENT, Progress
from tlcli.system.remote.kept import keep_images


@dataclass(frozen=True)
class ComputedFeatures:
    """What the pass did."""

    images: int
    """Of the shard."""
    units: int
    """Of the shard."""
    computed_units: int
    """Units that were not done before."""
    views: int
    """Of all images of the shard; reused are those that were not computed."""
    computed: int
    """Views."""
    read: int
    """Images that were read."""
    bad: dict[str, str]
    """Names of unreadable images, and the reasons."""
    left_to_augment: bool
    """Augmented views are missing: which images are for training is known when all shards are done."""
    notes: tuple[str, ...]
    """How the data set was read."""


def compute_features(
    loaded: LoadedConfig, shard: Shard = WHOLE, verify: bool = False, cache_images: bool = False,
    progress: Progress = SILENT, ray: str | None = None,
) -> ComputedFeatures:  # fmt: skip
    """Makes the store hold the plain view of every image, and the augmented views of training images.

    Args:
        loaded: the config.
        shard: which part of the units.
        verify: list and read everything again.
        cache_images: keep the bytes of remote images in the cache.
        progress: receives the stages.
        ray: address of a Ray cluster that computes them; ``local`` is this machine.

    Raises:
        DataError: the images are missing or malformed, or one changed meanwhile.
        ModelError: the weights, the engine or the extra ``remote`` are unavailable.
        NetworkError: a store refuses access, or does not answer.
        ResourceError: the disk is full.
    """
    opened = opener_for(ray)
    keep_images(cache_images, verify)
    with progress.stage("Listing images"):
        passed = unit_pass(loaded, verify, progress, opened)
    for note in (f"Read as {passed.scan.read_as}.", *passed.scan.notes, *map(str, passed.scan.left_out)):
        progress.note(note)
    index = _index(passed)
    plan = passed.plan(shard, index)
    results = passed.run(plan, progress)
    if index is None and passed.needs_index and (index := _index(passed)):
        again = passed.plan(shard, index)
        results += passed.run(again, progress)
        plan = passed.plan(shard, index)
    bad = {**plan.bad, **{source: why for result in results for source, why in result.bad.items()}}
    return ComputedFeatures(
        plan.images, plan.total, len({result.number for result in results}), plan.all_views,
        sum(result.computed for result in results), sum(result.read for result in results), bad,
        passed.needs_index and index is None, passed.scan.notes,
    )  # fmt: skip


def _index(passed: UnitPass) -> Index | None:
    """The index, where it decides which images are augmented, and all digests are known."""
    if not passed.needs_index or (known := passed.known()) is None:
        return None
    return passed.index(known)
