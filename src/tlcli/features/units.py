"""Units of the frozen pass: a range of rows of a data set -> their features in the store and one digest record.

A unit is small enough to be lost, and needs nothing but itself: a loop on this machine, one job of a Slurm array and
an actor of a cluster all call :func:`compute_unit`. It is idempotent. What it wrote is found by content, so that a unit
that ran twice, or in two places at a time, leaves the same store, and whoever runs it again after a kill reads only
what is missing. Each object is read once: its bytes are digested, decoded, and computed.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.datasets.object_digests import ObjectDigests, Seen
from tlcli.engines.interface import Runner
from tlcli.errors import DataError
from tlcli.features.pipeline import SHARD_ROWS, compute
from tlcli.features.store import Store, row_key
from tlcli.images.augmentation import PLAIN
from tlcli.images.decode import BadImageError, read, read_object
from tlcli.images.items import Decoder, Item
from tlcli.progress import SILENT, Progress
from tlcli.system.addresses import is_remote, shown_address
from tlcli.system.prefetch import in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNIT_ROWS = 512
"""Rows of a unit: as many as a shard of the store has."""
DONE = "done"
REQUESTS = 32
"""Objects that a unit reads at a time."""


@dataclass(frozen=True, slots=True)
class UnitRow:
    """An image that a unit computes; small, and plain values only, so that it can be sent anywhere."""

    source: str
    """Its path or its address; an address may be signed, so this is never printed."""
    version: str = ""
    """What the store said of the object when it was listed; empty where it was not."""
    size: int | None = None
    """Bytes, where it was listed."""
    sha256: str = ""
    """Hex digest of the bytes; empty where they were never read."""
    views: tuple[str, ...] = (PLAIN,)
    """Names of the views wanted."""


@dataclass(frozen=True)
class Unit:
    """A range of the rows of a data set."""

    number: int
    rows: tuple[UnitRow, ...]


@dataclass(frozen=True)
class UnitResult:
    """What computing a unit did."""

    number: int
    computed: int
    """Views."""
    read: int
    """Objects that were read."""
    bad: dict[str, str] = field(default_factory=dict)
    """Sources that are unreadable, without what gives access, and the reasons."""


def units_of(rows: Sequence[UnitRow], size: int = UNIT_ROWS) -> list[Unit]:
    """The rows in units of ``size``, the last of which may be smaller."""
    return [Unit(number, tuple(rows[start : start + size])) for number, start in enumerate(range(0, len(rows), size))]


def is_done(row: UnitRow, store: Store, digests: ObjectDigests) -> bool:
    """Whether the store has every view of a row, or the row is known to be unreadable."""
    return bool(state_of(row, store, digests))


def state_of(row: UnitRow, store: Store, digests: ObjectDigests) -> str:
    """:data:`DONE` where the store has every view of a row; why it is unreadable, where that is known; else empty."""
    sha256, reason = digests.known(row.source, row.version) if is_remote(row.source) else ("", "")
    if reason:
        return reason
    sha256 = row.sha256 or sha256
    return DONE if sha256 and all(row_key(sha256, view) in store for view in row.views) else ""


def unreadable(rows: Sequence[UnitRow], states: Sequence[str]) -> dict[str, str]:
    """Sources that are known to be unreadable, without what gives access, and the reasons."""
    return {
        shown_address(row.source): why for row, why in zip(rows, states, strict=True) if why not in ("", DONE)
    }  # fmt: skip


def compute_unit(
    unit: Unit, decoder: Decoder, engine: "Runner[NDArray[np.float32]]", store: Store, digests: ObjectDigests,
    progress: Progress = SILENT, requests: int = REQUESTS,
) -> UnitResult:  # fmt: skip
    """Makes the store hold every view of a unit's readable images, and the digest records say what its rows are.

    Args:
        unit: any; rows that are done are not read.
        decoder: the engine's.
        engine: computes what is missing.
        store: receives the features, before the digest record is written.
        digests: receives the digest of each object that is read, or the reason why it is unreadable.
        progress: receives every view that is computed.
        requests: objects that are read at a time.

    Raises:
        DataError: an object changed since it was listed, or a digest that was given is not that of the bytes.
        NetworkError: the store refuses access, or does not answer.
        ResourceError: the disk is full.
    """
    states = [state_of(row, store, digests) for row in unit.rows]
    missing = [row for row, state in zip(unit.rows, states, strict=True) if not state]
    reasons = unreadable(unit.rows, states)
    reading = _Reading(decoder, store)
    bad: dict[str, str] = {}
    computed = 0
    try:
        if missing:
            with ThreadPoolExecutor(requests, "reading") as pool:
                computed = compute(reading.items(missing, pool, requests), engine, store, bad, progress, SHARD_ROWS)
    finally:  # also when interrupted: what was read is known from now on
        seen = list(reading.seen(bad))
        digests.append(one for one in seen if is_remote(one.source))
    progress.advance(sum(len(row.views) for row in unit.rows) - computed)
    reasons |= {shown_address(one.source): one.reason for one in seen if one.reason}
    return UnitResult(unit.number, computed, len(missing), reasons)


class _Reading:
    """Turns rows into items, and keeps what their bytes said."""

    def __init__(self, decoder: Decoder, store: Store) -> None:
        self._decoder, self._store = decoder, store
        self._found: list[tuple[UnitRow, str, str]] = []
        """Rows with the digest, or the reason why there are no bytes."""
        self._submitted: set[bytes] = set()

    def items(self, rows: Sequence[UnitRow], pool: ThreadPoolExecutor, requests: int) -> Iterator[Item]:
        """What the engine has to compute, in the order of the rows: views that are neither stored nor on their way."""
        for row, future in in_order(lambda row: pool.submit(self._read, row), rows, 2 * requests):
            try:
                data, sha256 = future.result()
            except BadImageError as error:
                self._found.append((row, "", error.reason))
                continue
            self._found.append((row, sha256, ""))
            wanted = {row_key(sha256, view): view for view in row.views}
            new = {key: view for key, view in wanted.items() if key not in self._store and key not in self._submitted}
            if new:
                self._submitted |= new.keys()
                yield Item(data, sha256, tuple(new.values()))

    def _read(self, row: UnitRow) -> tuple[bytes, str]:
        """The bytes of a row, and their digest."""
        preparation = self._decoder.preparation
        if is_remote(row.source):
            data = read_object(row.source, preparation, row.version, row.size)
        else:
            data = read(Path(row.source), preparation)
        sha256 = hashlib.sha256(data).hexdigest()
        if row.sha256 not in ("", sha256):
            raise DataError(
                "data.file_changed", f"{shown_address(row.source)} changed since its digest was computed.",
                "Run the command again with --verify; of a manifest, correct its column sha256.",
            )  # fmt: skip
        return data, sha256

    def seen(self, bad: dict[str, str]) -> Iterable[Seen]:
        """What is known of the rows that were read; ``bad``: reasons by sha256."""
        for row, sha256, reason in self._found:
            yield Seen(row.source, row.version, sha256, reason or bad.get(sha256, ""))
