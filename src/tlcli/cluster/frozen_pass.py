"""The frozen pass of a command on Ray: actors compute what the store lacks, and the command reads it from there."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tlcli.backbones.spec import EngineChoice
from tlcli.cluster.job import Job
from tlcli.cluster.ray_units import Pool, compute_on_ray
from tlcli.cluster.session import check_address, connected
from tlcli.engines.choice import PrecisionSetting, choose_engine
from tlcli.errors import ResourceError, TlcliError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.store import row_key
from tlcli.features.units import UNIT_ROWS, UnitRow, units_of_rows
from tlcli.images.items import Item
from tlcli.progress import Progress

_UNITS_AN_ACTOR = 10
"""Units that each actor gets at least, so that none waits long for the last one."""
_FEWEST = 16
"""Rows of a unit, at least."""
_ON_GPU = 8 * UNIT_ROWS
"""Rows of a unit that a GPU computes, where there are many: at its end the GPU waits for the decoders."""


@dataclass(frozen=True)
class RayPass:
    """What :attr:`tlcli.features.extractor.FeatureExtractor.elsewhere` calls."""

    address: str
    """``local``, ``auto`` or HOST:PORT."""
    weights: str = ""
    """The config's ``backbone.weights``."""

    def __post_init__(self) -> None:
        check_address(self.address)

    def __call__(self, extractor: FeatureExtractor, items: Sequence[Item], progress: Progress) -> int:
        """Computes files' missing views on the cluster, and makes the extractor's store know them.

        Returns:
            how many were computed.

        Raises:
            ResourceError: the nodes write to other folders than this machine reads.
        """
        rows = [UnitRow(_path(item), sha256=item.sha256, views=item.views) for item in items]
        job = Job(extractor.spec, extractor.decoder, extractor.store.key, self.weights, extractor.opener)
        with ExitStack() as stack:
            with progress.stage("Starting Ray"):
                cluster = stack.enter_context(connected(self.address))
            pool = Pool.of(cluster, extractor.spec.engine.on_gpu)
            units = units_of_rows(rows, rows_of_unit(len(rows), pool))
            progress.note(f"{cluster.described()}; {pool.described()}; {len(units):,} units of {len(units[0].rows):,}")
            computed = 0
            with progress.stage("Computing features", sum(len(row.views) for row in rows), "images"):
                for result in compute_on_ray(units, job, pool):
                    computed += result.computed
                    progress.advance(result.computed)
        extractor.store.reload()
        _check_arrived(items, extractor, computed, self.address)
        return computed


def _path(item: Item) -> str:
    """Where a node finds an image: the same path, on a disk that all share."""
    return str(Path(str(item.source)).absolute())


def rows_of_unit(rows: int, pool: Pool) -> int:
    """Rows of a unit: many, as an actor pauses between two, and several for each actor, so that all end together."""
    most = _ON_GPU if pool.gpus else UNIT_ROWS
    return min(most, max(_FEWEST, rows // (_UNITS_AN_ACTOR * pool.actors)))


def _check_arrived(items: Sequence[Item], extractor: FeatureExtractor, computed: int, address: str) -> None:
    if computed and not any(row_key(item.sha256, view) in extractor.store for item in items for view in item.views):
        raise ResourceError(
            "resource.cache_not_shared",
            f"The nodes of --ray {address} computed {computed:,} images, and none is in {extractor.store.folder}.",
            "Set TLCLI_CACHE to a folder that all nodes share, or to an address such as s3://BUCKET/cache.",
        )


def choose_on_cluster(address: str, engine: str, precision: PrecisionSetting) -> EngineChoice:
    """What :func:`tlcli.engines.choice.choose_engine` chooses on a node, on one with a GPU where there is one.

    Raises:
        ModelError: see there.
        NetworkError: there is no cluster at this address.
    """
    with connected(address) as cluster:
        import ray

        task = ray.remote(num_cpus=1, num_gpus=1 if cluster.gpus else 0)(_choose)
        chosen: EngineChoice | TlcliError = ray.get(task.remote(engine, precision))
    if isinstance(chosen, TlcliError):
        raise chosen
    return chosen


def _choose(engine: str, precision: PrecisionSetting) -> EngineChoice | TlcliError:
    try:
        return choose_engine(engine, precision)
    except TlcliError as error:
        return error
