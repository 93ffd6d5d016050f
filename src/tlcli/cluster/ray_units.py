"""Units on Ray Data: a data set of units, mapped by a pool of actors; their results come back as they are done.

A unit is a block of its own, so that an actor that dies repeats one unit. Ray starts the actor again, as often as it
dies, on another node where its own is gone; what the unit wrote before is in the store.
"""

import logging
import math
import pickle
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from tlcli.cluster.job import Job
from tlcli.cluster.session import Cluster
from tlcli.cluster.worker import NUMBER, RESULT, UNIT, Answer, Unanswered, UnitWorker
from tlcli.errors import ResourceError, TlcliError
from tlcli.features.units import Unit, UnitResult

UNITS_AN_ACTOR = 10
"""Units that each actor gets at least, so that none waits long for the last one, and a node is worth its start."""
_CORES = 4
"""Of an actor on a large cluster: a network of one core's size is copied so often less, and decoding overlaps."""
_IN_USE = 0.8
"""Part of all cores that the actors take, at least."""
_TRIES = 3
"""Of a unit whose store does not answer; each request in it is tried several times besides."""
_ERRORS = 10
"""Units that may fail for reasons that are no error of tlcli, before the pass ends."""


@dataclass(frozen=True)
class Pool:
    """The actors of a pass."""

    actors: int
    """At first."""
    cores: int
    """Of each."""
    gpus: int
    """Of each: 1 or none."""
    grows: bool = False
    """Whether nodes may be added."""

    @classmethod
    def of(cls, cluster: Cluster, on_gpu: bool) -> "Pool":
        """As many actors as the nodes of a cluster have room for, each of which fits on a node.

        Args:
            cluster: that runs them.
            on_gpu: whether the engine computes on GPUs: one an actor, and the cores of a node are divided among its
                GPUs. Else one core each where there are few, four where that leaves few unused, or fewer.
        """
        grows = not cluster.is_local
        if on_gpu and (nodes := [node for node in cluster.nodes if node.gpus and node.cpus]):
            cores = min(max(1, node.cpus // node.gpus) for node in nodes)
            return cls(sum(min(node.gpus, node.cpus // cores) for node in nodes), cores, 1, grows)
        cores = _cores_each([node.cpus for node in cluster.nodes])
        return cls(max(1, sum(node.cpus // cores for node in cluster.nodes)), cores, 0, grows)

    def most(self, units: int) -> int:
        """Actors that so many units are worth. Ray Data asks an autoscaler for nodes as long as units wait and there
        are fewer actors than this; where there is no autoscaler, it starts no more than the nodes have room for."""
        return max(self.actors, math.ceil(units / UNITS_AN_ACTOR)) if self.grows else self.actors

    def described(self) -> str:
        """For people."""
        of_each = f"{self.cores} core{'s' * (self.cores != 1)} each"
        return f"{self.actors} actor{'s' * (self.actors != 1)}, {of_each}{', on a GPU' if self.gpus else ''}"


def _cores_each(nodes: Sequence[int]) -> int:
    """The cores of an actor on nodes with so many cores."""
    total = sum(nodes)
    if total <= _CORES:
        return 1
    in_use = {cores: sum(of - of % cores for of in nodes) for cores in range(1, _CORES + 1)}
    return max(cores for cores, taken in in_use.items() if taken >= _IN_USE * total)


def compute_on_ray(units: Sequence[Unit], job: Job, pool: Pool) -> Iterator[tuple[int, UnitResult]]:
    """Computes units on the cluster that this process is connected to, and yields the views of each and what computing
    it did, in no order.

    Args:
        units: all that is missing.
        job: what is computed of them.
        pool: the actors.

    Raises:
        TlcliError: what a unit raised: an image changed, the disk is full.
        NetworkError: the store of a unit did not answer three times.
        ResourceError: units fail whenever they are tried, or the cluster is gone.
    """
    job = replace(job, threads=pool.cores)
    left = dict(enumerate(units))
    tries = Counter[int]()
    while left:
        unanswered = in_a_row = 0
        with closing(_mapped(list(left.items()), job, pool)) as answers:
            for number, answer in answers:
                if isinstance(answer, Unanswered):
                    tries[number] += 1
                    if tries[number] == _TRIES:
                        raise answer.error
                    unanswered, in_a_row = unanswered + 1, in_a_row + 1
                    if in_a_row == 2 * pool.actors:  # nobody is answered: the same units again, not all others
                        break
                elif isinstance(answer, TlcliError):
                    raise answer
                else:
                    in_a_row = 0
                    del left[number]
                    yield answer
        if not unanswered:
            break
        left = dict(sorted(left.items(), key=lambda one: -tries[one[0]]))
    if left:
        raise ResourceError(
            "resource.units_failed", f"{len(left)} of {len(units)} units failed. What was computed is kept.",
            "Run the same command again to continue; ray logs on the nodes say why.",
        )  # fmt: skip


def _mapped(units: Sequence[tuple[int, Unit]], job: Job, pool: Pool) -> Generator[tuple[int, Answer]]:
    """Sends units to actors once, and yields the number of each and its answer."""
    import ray.data
    from ray.exceptions import RayError

    _configure(ray.data.DataContext.get_current())
    rows = ray.data.from_items(
        [{NUMBER: number, UNIT: pickle.dumps(unit)} for number, unit in units], override_num_blocks=len(units)
    )
    # The next unit is read and decoded while a GPU computes the last images of one.
    at_once = 2 if pool.gpus else 1
    strategy = ray.data.ActorPoolStrategy(
        min_size=1, max_size=pool.most(len(units)), initial_size=min(pool.actors, len(units)),
        max_tasks_in_flight_per_actor=2 * at_once,  # fewer than twice those at work, and Ray never adds an actor
        max_concurrent_calls_per_actor=at_once, enable_true_multi_threading=at_once > 1,
    )  # fmt: skip
    results = rows.map_batches(
        UnitWorker, fn_constructor_args=(job,), batch_size=1, batch_format="numpy", compute=strategy,
        num_cpus=pool.cores, num_gpus=pool.gpus or None,
    )  # fmt: skip
    try:
        for row in results.iter_rows():
            yield int(row[NUMBER]), pickle.loads(row[RESULT])  # noqa: S301 - an actor's, see UnitWorker
    except RayError as error:
        raise ResourceError(
            "resource.cluster_failed", f"Ray failed: {type(error).__name__}: {' '.join(str(error).split())[:500]}",
            "Run the same command again to continue: what was computed is kept.",
        ) from error  # fmt: skip


def _configure(context: Any) -> None:
    """No bars, tables and hints of Ray's; what it does where a unit fails."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.verbose_progress = False
    # Exceptions of libraries, where a connection breaks that is no request to a store: Ray runs the unit again on the
    # same actor. A store that does not answer is an answer, see Unanswered.
    context.actor_task_retry_on_errors = [ConnectionError, TimeoutError]
    # Any other exception, a bug or a broken node: its unit is left out, and the pass ends after so many.
    context.max_errored_blocks = _ERRORS
