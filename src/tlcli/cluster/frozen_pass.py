"""The frozen pass of a command on Ray: actors compute what the store lacks, and the command reads it from there."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tlcli.backbones.spec import EngineChoice
from tlcli.cluster.job import Job
from tlcli.cluster.ray_units import UNITS_AN_ACTOR, Pool, compute_on_ray
from tlcli.cluster.session import check_address, connected, with_a_worker
from tlcli.engines.choice import PrecisionSetting, choose_engine
from tlcli.errors import ResourceError, TlcliError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.store import row_key
from tlcli.features.units import UNIT_ROWS, Unit, UnitResult
from tlcli.progress import Progress

_FEWEST = 16
"""Rows of a unit, at least: an actor pauses between two."""


@dataclass(frozen=True)
class RayPass:
    """What :attr:`tlcli.features.extractor.FeatureExtractor.elsewhere` calls."""

    address: str
    """``local``, ``auto`` or HOST:PORT."""
    weights: str = ""
    """The config's ``backbone.weights``."""

    def __post_init__(self) -> None:
        check_address(self.address)

    def __call__(self, extractor: FeatureExtractor, units: Sequence[Unit], progress: Progress) -> list[UnitResult]:
        """Computes units on the cluster, and makes the extractor's store know what they gave.

        Raises:
            NetworkError: there is no cluster at this address; or a store does not answer.
            ResourceError: the nodes write to other folders than this machine reads; or no node computes.
            TlcliError: see :func:`tlcli.cluster.ray_units.compute_on_ray`.
        """
        job = Job(extractor.spec, extractor.decoder, extractor.store.key, self.weights, extractor.opener)
        results = list[UnitResult]()
        with ExitStack() as stack:
            with progress.stage("Starting Ray"):
                cluster = stack.enter_context(connected(self.address))
            on_gpu = extractor.spec.engine.on_gpu
            if not cluster.cpus:
                with progress.stage("Waiting for a worker"):
                    cluster = with_a_worker(cluster, on_gpu)
            pool = Pool.of(cluster, on_gpu)
            pieces = divided(units, pool)
            progress.note(f"{cluster.described()}; {pool.described()}; units of {len(pieces[0].rows)} images or fewer")
            views = sum(len(row.views) for unit in units for row in unit.rows)
            with progress.stage("Computing features", views, "images"):
                for of_unit, result in compute_on_ray(pieces, job, pool):
                    results.append(result)
                    progress.advance(of_unit)
        extractor.store.reload()
        _check_arrived(units, results, extractor, self.address)
        return results


def divided(units: Sequence[Unit], pool: Pool) -> list[Unit]:
    """Units that are small enough for each actor to get several; the parts of one have its number."""
    rows = sum(len(unit.rows) for unit in units)
    most = max(_FEWEST, min(UNIT_ROWS, rows // (UNITS_AN_ACTOR * pool.actors)))
    return [
        Unit(unit.number, unit.rows[start : start + most])
        for unit in units
        for start in range(0, len(unit.rows), most)
    ]  # fmt: skip


def _check_arrived(
    units: Sequence[Unit], results: Sequence[UnitResult], extractor: FeatureExtractor, address: str
) -> None:
    """Rows of known digest are looked up; those of objects that were never read are found later."""
    computed = sum(result.computed for result in results)
    keys = [row_key(row.sha256, view) for unit in units for row in unit.rows if row.sha256 for view in row.views]
    if computed and keys and not any(key in extractor.store for key in keys):
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
        ResourceError: no node of it computes.
    """
    with connected(address) as found:
        import ray

        cluster = with_a_worker(found)
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
