import hashlib
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.features.extractors import SMALL
from tests.image_fixtures import Encode

from object_server import ObjectServer, cut, status
from tlcli.backbones.blocks import one_block
from tlcli.datasets.object_digests import ObjectDigests
from tlcli.engines.double import FakeEngine
from tlcli.errors import DataError, NetworkError
from tlcli.features.store import Store, row_key
from tlcli.features.units import Unit, UnitResult, UnitRow, compute_unit, is_done
from tlcli.images.augmentation import PLAIN, Augmentation, view_names
from tlcli.images.items import Decoder, Item
from tlcli.system.remote.path import forget as forget_paths
from tlcli.system.remote.stores import open_store, size_of, version_of

BLOCKS = one_block(4)
KEY = "a" * 64
VIEWS = tuple(view_names(2, Augmentation()))


@pytest.fixture
def unit(object_server: ObjectServer, encode: Encode) -> Unit:
    """Twelve images, of which two have the same bytes."""
    for number in range(12):
        pixels = np.full((40, 40, 3), max(1, number) * 20, np.uint8)
        object_server.objects[f"b/{number:02}.png"] = encode(Image.fromarray(pixels), "PNG")
    return Unit(7, tuple(UnitRow(f"s3://b/{number:02}.png") for number in range(12)))


def compute(unit: Unit, store: Store | None = None, digests: ObjectDigests | None = None) -> UnitResult:
    """By a process that knows what the cache has, unless it is said."""
    decoder = Decoder(SMALL)
    with closing(FakeEngine(decoder, BLOCKS)) as engine:
        return compute_unit(unit, decoder, engine, store or Store(KEY, BLOCKS), digests or ObjectDigests("d"))


def digest(object_server: ObjectServer, number: int) -> str:
    return hashlib.sha256(object_server.objects[f"b/{number:02}.png"]).hexdigest()


def gets(object_server: ObjectServer) -> int:
    return sum(count for key, count in object_server.requests.items() if key.startswith("GET"))


def test_each_object_is_read_once_and_a_unit_that_is_done_is_not_read(unit: Unit, object_server: ObjectServer) -> None:
    assert compute(unit) == UnitResult(7, 11, 12, {})
    assert gets(object_server) == 12
    assert compute(unit) == UnitResult(7, 0, 0, {})
    assert gets(object_server) == 12
    store, digests = Store(KEY, BLOCKS), ObjectDigests("d")
    assert all(is_done(row, store, digests) for row in unit.rows)
    assert digests.sha256("s3://b/03.png", "") == digest(object_server, 3)


def test_features_are_those_of_the_local_pass_bit_by_bit(unit: Unit, object_server: ObjectServer) -> None:
    compute(unit)
    with closing(FakeEngine(Decoder(SMALL), BLOCKS)) as engine:
        expected = [
            BLOCKS.rounded(engine.feature(Decoder(SMALL).views(Item(object_server.objects[f"b/{n:02}.png"]))[0]))
            for n in range(12)
        ]
    found = Store(KEY, BLOCKS).read(row_key(digest(object_server, number), PLAIN) for number in range(12))
    np.testing.assert_array_equal(found, expected)


def test_views_that_are_missing_are_computed_and_no_others(unit: Unit, object_server: ObjectServer) -> None:
    compute(unit)
    augmented = Unit(7, tuple(UnitRow(row.source, views=VIEWS) for row in unit.rows[:3]))
    assert compute(augmented) == UnitResult(7, 4, 3, {})


@pytest.mark.parametrize("rows", [5, 12])
def test_a_copy_of_an_image_in_another_unit_is_not_computed_again(
    rows: int, unit: Unit, object_server: ObjectServer
) -> None:
    compute(Unit(0, unit.rows[:rows]))
    object_server.objects["b/copy.png"] = object_server.objects["b/04.png"]
    assert compute(Unit(1, (UnitRow("s3://b/copy.png"),))) == UnitResult(1, 0, 1, {})


def test_unreadable_images_are_collected_once_with_their_reasons(unit: Unit, object_server: ObjectServer) -> None:
    del object_server.objects["b/02.png"]
    object_server.objects["b/05.png"] = b"no image"
    object_server.objects["b/06.png"] = object_server.objects["b/06.png"][:-30]
    done = compute(unit)
    assert done.bad.keys() == {"s3://b/02.png", "s3://b/05.png", "s3://b/06.png"}
    assert "404" in done.bad["s3://b/02.png"]
    before = gets(object_server)
    again = compute(unit)
    assert (again.bad, again.read, gets(object_server)) == (done.bad, 0, before)
    other = compute(unit, digests=ObjectDigests("another decoder"))
    assert other.read == 2  # what another decoder could not read; what is not there stays so
    assert compute(unit, digests=ObjectDigests("d", anew=True)).read == 12


def test_broken_connections_cost_time_only(unit: Unit, object_server: ObjectServer) -> None:
    for number in range(0, 12, 2):
        object_server.answers[f"b/{number:02}.png"] = [status(503), cut]
    assert compute(unit) == UnitResult(7, 11, 12, {})


def test_refused_access_ends_the_pass_and_keeps_what_was_read(unit: Unit, object_server: ObjectServer) -> None:
    object_server.answers["b/11.png"] = [status(403, "AccessDenied")] * 9
    with pytest.raises(NetworkError) as raised:
        compute(unit)
    assert raised.value.code == "network.store_refused"
    object_server.answers.clear()
    assert 1 <= compute(unit).read < 12  # and what the engine had at work


def test_an_object_that_changes_during_the_pass_is_an_error(unit: Unit, object_server: ObjectServer) -> None:
    store, _ = open_store("s3://b")
    listed = {row.source: store.info(row.source) for row in unit.rows}
    rows = tuple(UnitRow(name, version_of(info), size_of(info)) for name, info in listed.items())
    object_server.objects["b/03.png"] = object_server.objects["b/04.png"]
    with pytest.raises(DataError) as raised:
        compute(Unit(0, rows))
    assert raised.value.code == "data.file_changed"
    assert "03.png" in raised.value.message


def test_a_digest_of_the_manifest_must_be_that_of_the_bytes(unit: Unit, object_server: ObjectServer) -> None:
    right = UnitRow("s3://b/03.png", sha256=digest(object_server, 3))
    assert compute(Unit(0, (right,))).computed == 1
    with pytest.raises(DataError) as raised:
        compute(Unit(0, (UnitRow("s3://b/04.png", sha256="0" * 64),)))
    assert raised.value.code == "data.file_changed"


def test_two_writers_at_once_leave_the_same_rows(unit: Unit, object_server: ObjectServer) -> None:
    writers = [threading.Thread(target=compute, args=(unit,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    store, digests = Store(KEY, BLOCKS), ObjectDigests("d")
    assert all(is_done(row, store, digests) for row in unit.rows)
    assert compute(unit).read == 0


KILLED = """
import os, sys
from contextlib import closing
from tests.features.test_units import BLOCKS, KEY, SMALL, Decoder, FakeEngine, ObjectDigests, Store, Unit, UnitRow
from tlcli.features import units
from tlcli.features.units import compute_unit

unit = Unit(0, tuple(UnitRow(f"s3://b/{number:02}.png") for number in range(12)))
if sys.argv[1] == "before the record":
    ObjectDigests.append = lambda *_: os.kill(os.getpid(), 9)
else:
    Store.append = lambda *_: os.kill(os.getpid(), 9)
decoder = Decoder(SMALL)
with closing(FakeEngine(decoder, BLOCKS)) as engine:
    compute_unit(unit, decoder, engine, Store(KEY, BLOCKS), ObjectDigests("d"))
"""


@pytest.mark.parametrize("when", ["before the record", "before the features"])
def test_a_killed_writer_costs_its_unit_once_more(when: str, unit: Unit, object_server: ObjectServer) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, when], cwd=root, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    again = compute(unit)
    assert (again.computed, again.read) == (0 if when == "before the record" else 11, 12)
    assert compute(unit).read == 0


def test_a_signed_address_reads_and_is_not_shown(unit: Unit, object_server: ObjectServer) -> None:
    object_server.objects["b/05.png"] = b"no image"
    rows = tuple(UnitRow(f"{object_server.url}/b/{number:02}.png?X-Amz-Signature=secret") for number in (4, 5))
    done = compute(Unit(0, rows))
    assert list(done.bad) == [f"{object_server.url}/b/05.png"]
    signed_again = tuple(UnitRow(row.source.replace("secret", "other")) for row in rows)
    assert compute(Unit(0, signed_again)).read == 0
    forget_paths()
