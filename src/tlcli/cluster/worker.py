"""An actor: one engine, and the units that Ray gives it one after the other. Runs in processes of Ray."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.cluster.job import Job
from tlcli.datasets.object_digests import ObjectDigests
from tlcli.errors import NetworkError, TlcliError
from tlcli.features.key import preparation_digest
from tlcli.features.store import Store
from tlcli.features.units import Unit, UnitResult, compute_unit
from tlcli.progress import SILENT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUMBER, UNIT, RESULT = "number", "unit", "result"
"""Columns of what an actor receives and gives: a number that it gives back, and pickled values."""


@dataclass(frozen=True)
class Unanswered:
    """A store did not answer, though each request was tried several times: another node, or a later try, may do."""

    error: NetworkError


Answer = tuple[int, UnitResult] | Unanswered | TlcliError
"""The views of a unit, and what computing it did; or why it is to be tried again; or the error that ends the
command."""


class UnitWorker:
    """Computes units; what Ray's ``map_batches`` constructs once in every actor."""

    def __init__(self, job: Job) -> None:
        """Opens the engine."""
        self._failure: TlcliError | None = None
        try:
            self._job = job.on_this_node()
            self._engine = self._job.opener(self._job.spec, self._job.decoder, SILENT)
            self._store = AddedRows(self._job.key, self._job.spec.row.blocks)
        except TlcliError as error:  # the command reports it; Ray would start the actor again and again
            self._failure = error
        decoder = preparation_digest(job.decoder.preparation)
        self._digests = ObjectDigests(decoder, anew=True)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Numbers and pickled units -> the same numbers and pickled answers."""
        return {NUMBER: batch[NUMBER], RESULT: [pickle.dumps(self._answer(pickle.loads(data))) for data in batch[UNIT]]}  # noqa: S301 - ours

    def _answer(self, unit: Unit) -> "Answer":
        if self._failure:
            return self._failure
        try:
            result = compute_unit(unit, self._job.decoder, self._engine, self._store, self._digests)
            return sum(len(row.views) for row in unit.rows), result
        except NetworkError as error:
            return Unanswered(error) if error.code == "network.store_unavailable" else error
        except TlcliError as error:
            return error


class AddedRows(Store):
    """A store that rows are added to, and that knows none: the command has left out stored rows, and to open a large
    store takes minutes. Several threads may add at a time."""

    def _load(self) -> None:
        """Loads nothing."""

    def _take(self, path: Path, keys: "NDArray[np.uint8]", begins: tuple[int, ...]) -> None:
        """Keeps nothing in memory."""
