"""Decoders: the pixels are those of the one decoder; what is malicious costs a process, never the server."""

import asyncio
import io
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image
from tests.serving.conftest import Server, serving, wait_until

from tlcli.images.decode import BadImageError, prepare
from tlcli.images.preparation import Preparation
from tlcli.serving.decoding import Decoders
from tlcli.serving.limits import Limits, RefusalError

Result = TypeVar("Result")
PREPARATION = Preparation((32, 24), "crop", 0.9, tiles=(2, 2), max_megapixels=50)


def encoded(width: int, height: int, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    pixels = Image.new(mode, (width, height))
    pixels.paste(tuple(range(90, 90 + 10 * len(pixels.getbands()), 10)), (3, 3, width - 2, height // 2))
    pixels.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def with_decoders(work: Callable[[Decoders], Awaitable[Result]], limits: Limits, count: int = 1) -> Result:
    async def run() -> Result:
        decoders = Decoders(count, limits)
        decoders.start()
        try:
            return await work(decoders)
        finally:
            await decoders.close()

    return asyncio.run(run())


def children() -> list[int]:
    """Decoders of this process, by their numbers."""
    return decoders_of(os.getpid())


def decoders_of(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"decode_process" in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_pixels_are_those_of_the_one_decoder(mode: str) -> None:
    data = encoded(83, 61, mode)

    async def work(decoders: Decoders) -> list[NDArray[np.uint8]]:
        return list(await asyncio.gather(*(decoders.prepare(data, PREPARATION) for _ in range(3))))

    expected = prepare(data, PREPARATION)
    for found in with_decoders(work, Limits(), 2):
        assert np.array_equal(found, expected)


def code_of(data: bytes, limits: Limits) -> tuple[str, bool]:
    """The code, and whether the next image is decoded."""

    async def work(decoders: Decoders) -> tuple[str, bool]:
        try:
            await decoders.prepare(data, PREPARATION)
        except (BadImageError, RefusalError) as error:
            code = error.code
        return code, (await decoders.prepare(encoded(9, 9), PREPARATION)).size > 0

    return with_decoders(work, limits)


def test_broken_images_have_the_decoders_codes() -> None:
    for data in (b"", b"text", encoded(40, 30)[:60], encoded(9000, 9000)):
        with pytest.raises(BadImageError) as raised:
            prepare(data, PREPARATION)
        assert code_of(data, Limits()) == (raised.value.code, True)


def test_memory_and_time_of_an_image_are_limited() -> None:
    large = encoded(6000, 5000, "RGBA")
    assert code_of(large, Limits(decoder_memory=100 * 2**20)) == ("image.too_much_memory", True)
    began = time.monotonic()
    assert code_of(large, Limits(decode=0.05)) == ("image.too_slow", True)
    assert time.monotonic() - began < 10


@needs_proc
def test_a_decoder_that_dies_is_replaced_and_its_image_decoded_by_another() -> None:
    async def work(decoders: Decoders) -> int:
        await decoders.prepare(encoded(9, 9), PREPARATION)
        large = asyncio.create_task(decoders.prepare(encoded(5000, 5000), PREPARATION))
        await asyncio.sleep(0.03)
        for number in children():
            os.kill(number, signal.SIGKILL)
        assert (await large).size > 0
        return decoders.restarts

    assert with_decoders(work, Limits(), 1) >= 1
    assert not children()


def kill_under_load(server: Server, image: bytes, kills: int) -> Counter[int]:
    """Kills decoders one by one while four clients ask; the statuses that they got."""
    statuses: Counter[int] = Counter()
    is_over = threading.Event()

    def ask() -> None:
        session = requests.Session()
        while not is_over.is_set():
            statuses[session.post(f"{server.url}/predict", data=image, timeout=20).status_code] += 1

    def is_back(killed: int, count: int) -> bool:
        running = decoders_of(server.process.pid)
        return killed not in running and len(running) >= count

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    count = len(decoders_of(server.process.pid))
    assert count
    try:
        for _ in range(kills):
            os.kill(killed := decoders_of(server.process.pid)[0], signal.SIGKILL)
            began, answered = time.monotonic(), statuses[200]
            wait_until(lambda: is_back(killed, count) and statuses[200] > answered, 10)  # noqa: B023
            assert time.monotonic() - began < 3
    finally:
        is_over.set()
        for client in clients:
            client.join()
    return statuses


@needs_proc
def test_decoders_killed_under_load_cost_no_more_than_a_request_each(trained: Path, image: bytes) -> None:
    with serving(trained) as one:
        one.post("/predict", image)
        statuses = kill_under_load(one, image, 3)
        assert statuses[200] > 3
        assert sum(count for status, count in statuses.items() if status != 200) <= 3
        assert not statuses[500]
        wait_until(lambda: one.metric("tlcli_decoder_restarts") == 3)
        process = one.process.pid
    assert not decoders_of(process)


@pytest.mark.slow
@needs_proc
def test_50_decoders_killed_under_load(trained: Path, image: bytes) -> None:
    with serving(trained) as one:
        one.post("/predict", image)
        statuses = kill_under_load(one, image, 50)
        assert sum(count for status, count in statuses.items() if status != 200) <= 50
        assert not statuses[500]


def test_a_deadline_that_has_passed_is_a_refusal_with_a_time_to_wait(trained: Path, image: bytes) -> None:
    with serving(trained, "--deadline", 0.1) as one:
        one.post("/predict", image)
        small = encoded(5000, 5000, "RGB")
        assert len(small) < 1_000_000
        began = time.monotonic()
        answer = one.post("/predict", small)
        assert time.monotonic() - began < 2
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "serve.deadline"
        assert int(answer.headers["retry-after"]) >= 1
        wait_until(lambda: one.post("/predict", image).status_code == 200)
