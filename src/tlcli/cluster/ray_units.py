"""Units on Ray Data: a data set of units, mapped by a pool of actors; their results come back as they are done.

A unit is a block of its own, so that an actor that dies repeats one unit. Ray starts the actor again, as often as it
dies, on another node where its own is gone; what the unit wrote before is in the store.
"""

import logging
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tlcli.cluster.job import Job
from tlcli.cluster.session import Cluster
from tlcli.cluster.worker import RESULT, UNIT, Answer, UnitWorker
from tlcli.errors import ResourceError, TlcliError
from tlcli.features.units import Unit, UnitResult

_CORES = 4
"""Of an actor on a large cluster: a network of one core's size is copied so often less, and decoding overlaps."""
_ERRORS = 10
"""Units that may fail for reasons that are no error of tlcli, before the pass ends."""


@dataclass(frozen=True)
class Pool:
    """The actors of a pass."""

    actors: int
    cores: int
    """Of each."""
    gpus: int
    """Of each: 1 or none."""

    @classmethod
    def of(cls, cluster: Cluster, on_gpu: bool, cores: int | None = None) -> "Pool":
        """As many actors as a cluster has room for.

        Args:
            cluster: that runs them.
            on_gpu: whether the engine computes on GPUs: one an actor, and the cores are divided among them.
            cores: of each actor; by default one where there are few, else four.
        """
        if on_gpu and cluster.gpus:
            return cls(cluster.gpus, cores or max(1, cluster.cpus // cluster.gpus), 1)
        cores = min(cores or (1 if cluster.cpus <= _CORES else _CORES), cluster.cpus)
        return cls(max(1, cluster.cpus // cores), cores, 0)

    def described(self) -> str:
        """For people."""
        of_each = f"{self.cores} core{'s' * (self.cores != 1)} each"
        return f"{self.actors} actor{'s' * (self.actors != 1)}, {of_each}{', on a GPU' if self.gpus else ''}"


def compute_on_ray(units: Sequence[Unit], job: Job, pool: Pool) -> Iterator[tuple[int, UnitResult]]:
    """Computes units on the cluster that this process is connected to, and yields the views of each and what computing
    it did, in no order.

    Args:
        units: all that is missing.
        job: what is computed of them.
        pool: the actors.

    Raises:
        TlcliError: what a unit raised: an image changed, the disk is full.
        ResourceError: units fail whenever they are tried, or the cluster is gone.
    """
    job = replace(job, threads=pool.cores)
    done = 0
    for value in _mapped([pickle.dumps(unit) for unit in units], job, pool):
        if isinstance(value, TlcliError):
            raise value
        done += 1
        yield value
    if done < len(units):
        raise ResourceError(
            "resource.units_failed", f"{len(units) - done} of {len(units)} units failed. What was computed is kept.",
            "Run the same command again to continue; ray logs on the nodes say why.",
        )  # fmt: skip


def _mapped(units: Sequence[bytes], job: Job, pool: Pool) -> Iterator[Answer]:
    import ray.data
    from ray.exceptions import RayError

    _quiet(ray.data.DataContext.get_current())
    rows = ray.data.from_items([{UNIT: unit} for unit in units], override_num_blocks=len(units))
    strategy = ray.data.ActorPoolStrategy(
        min_size=1, max_size=pool.actors, initial_size=pool.actors, max_tasks_in_flight_per_actor=2,
        # The next unit is read and decoded while a GPU computes the last images of one.
        max_concurrent_calls_per_actor=2 if pool.gpus else None, enable_true_multi_threading=bool(pool.gpus),
    )  # fmt: skip
    results = rows.map_batches(
        UnitWorker, fn_constructor_args=(job,), batch_size=1, batch_format="numpy", compute=strategy,
        num_cpus=pool.cores, num_gpus=pool.gpus or None,
    )  # fmt: skip
    try:
        for row in results.iter_rows():
            yield pickle.loads(row[RESULT])  # noqa: S301 - an actor's, see UnitWorker
    except RayError as error:
        raise ResourceError(
            "resource.cluster_failed", f"Ray failed: {type(error).__name__}: {' '.join(str(error).split())[:500]}",
            "Run the same command again to continue: what was computed is kept.",
        ) from error  # fmt: skip


def _quiet(context: Any) -> None:
    """No bars, tables and hints of Ray's; retries where a connection fails."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.verbose_progress = False
    context.actor_task_retry_on_errors = [ConnectionError, TimeoutError]
    context.max_errored_blocks = _ERRORS
