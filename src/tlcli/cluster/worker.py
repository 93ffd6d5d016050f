"""An actor: one engine, and the units that Ray gives it one after the other. Runs in processes of Ray."""

import pickle
from collections.abc import Iterable, Sequence
from typing import Any

from tlcli.cluster.job import Job
from tlcli.datasets.object_digests import ObjectDigests, Seen
from tlcli.errors import TlcliError
from tlcli.features.key import preparation_digest
from tlcli.features.store import Store
from tlcli.features.units import Unit, UnitResult, compute_unit
from tlcli.progress import SILENT

UNIT, RESULT = "unit", "result"
"""Columns of what an actor receives and gives: pickled values."""


class UnitWorker:
    """Computes units; what Ray's ``map_batches`` constructs once in every actor."""

    def __init__(self, job: Job, root: str = "") -> None:
        """Opens the engine.

        Args:
            job: what is computed.
            root: address that the objects are below, for the records of their digests; empty for local files, whose
                digests are known.
        """
        self._failure: TlcliError | None = None
        try:
            self._job = job.on_this_node()
            self._engine = self._job.opener(self._job.spec, self._job.decoder, SILENT)
            self._store = AddedRows(self._job.key, self._job.spec.row.blocks)
        except TlcliError as error:  # the command reports it; Ray would start the actor again and again
            self._failure = error
        decoder = preparation_digest(job.decoder.preparation)
        self._digests = ObjectDigests(root, decoder) if root else KnownDigests(root, decoder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Sequence[bytes]]:
        """Pickled units -> pickled results, or the errors that end the command."""
        return {RESULT: [pickle.dumps(self._answer(pickle.loads(data))) for data in batch[UNIT]]}  # noqa: S301 - ours

    def _answer(self, unit: Unit) -> UnitResult | TlcliError:
        if self._failure:
            return self._failure
        try:
            return compute_unit(unit, self._job.decoder, self._engine, self._store, self._digests)
        except TlcliError as error:
            return error


class AddedRows(Store):
    """A store that knows only what this process adds: the command has left out what is there, and opening a large store
    takes minutes."""

    def _load(self) -> None:
        """Loads nothing."""


class KnownDigests(ObjectDigests):
    """Records of local files, whose digests the index has: nothing is written."""

    def __init__(self, root: str, decoder: str) -> None:
        """No records."""
        super().__init__(root, decoder, anew=True)
        self._unreadable: dict[str, str] = {}

    def sha256(self, source: str, version: str) -> str:  # noqa: ARG002 - the signature of ObjectDigests
        """Nothing is recorded."""
        return ""

    def reason(self, source: str, version: str) -> str:  # noqa: ARG002
        """Why a file was unreadable, of those that this process read."""
        return self._unreadable.get(source, "")

    def append(self, seen: Iterable[Seen]) -> None:
        """Keeps the reasons."""
        self._unreadable.update({one.source: one.reason for one in seen if one.reason})
