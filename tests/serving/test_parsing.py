"""Long JSON is parsed by a decoder process: the same requests and refusals, and the server is never held up by it."""

import asyncio
import json
from typing import Any

import pytest
from tests.serving.conftest import Server
from tests.serving.test_decoding import with_decoders
from tests.serving.test_protocols import HEADER, binary, tensor, text

from tlcli.serving import parsing, protocol_tensorflow, protocol_v2
from tlcli.serving.decoding import Decoders
from tlcli.serving.limits import Limits, RefusalError

PAD = b"\0" * parsing.LONG
"""Behind the end of a PNG, where decoders stop."""
ASKED = {"id": "a", "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}, {"name": "label"}]}


def v2_body(*images: bytes) -> bytes:
    return json.dumps({**ASKED, "inputs": [tensor(*images)]}).encode()


def tensorflow_body(*images: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": text(image)} for image in images]}).encode()


def parsed(protocol: "parsing.Protocol[Any]", body: bytes, limits: Limits = Limits()) -> Any:  # noqa: B008 - frozen
    async def work(decoders: Decoders) -> Any:
        return await protocol.request(body, None, 3, decoders)

    return with_decoders(work, limits)


def test_a_process_parses_as_the_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    images = (b"a" + PAD, b"", PAD)
    v2, tensorflow = v2_body(*images), tensorflow_body(*images)
    expected = protocol_v2.parse(v2, None, 3), protocol_tensorflow.parse(tensorflow, None, 3)
    assert [one.images for one in expected] == [images, images]

    def called(data: bytes) -> Any:
        raise AssertionError(data[:20])

    monkeypatch.setattr(protocol_v2, "load_json", called)  # of this process
    monkeypatch.setattr(protocol_tensorflow, "load_json", called)
    assert parsed(parsing.V2, v2) == expected[0]
    assert parsed(parsing.TENSORFLOW, tensorflow) == expected[1]


@pytest.mark.parametrize(
    ("body", "limits", "code", "status"),
    [
        (b"[" + b"[]," * parsing.LONG + b"0]", Limits(), "serve.invalid_json", 400),
        (b"[" * parsing.LONG, Limits(), "serve.invalid_json", 400),
        (v2_body(b"", b"", b"", PAD), Limits(), "serve.too_many_images", 413),
        (b"[" + b"[]," * (8 * parsing.LONG) + b"0]", Limits(decoder_memory=50 * 2**20), "serve.body_too_large", 413),
        (b"[" + b"[]," * (8 * parsing.LONG) + b"0]", Limits(decode=0.05), "serve.body_too_large", 413),
    ],
    ids=["a list", "too deep", "images", "memory", "time"],
)
def test_refusals_of_a_process(body: bytes, limits: Limits, code: str, status: int) -> None:
    with pytest.raises(RefusalError) as raised:
        parsed(parsing.V2, body, limits)
    assert (raised.value.code, raised.value.status) == (code, status)


def test_other_clients_are_answered_while_long_json_is_parsed() -> None:
    async def work(decoders: Decoders) -> int:
        await decoders.parse("v2", v2_body(b""), None, 1)  # the process has started
        parsing_it = asyncio.create_task(decoders.parse("v2", b"[" + b"[]," * 2_000_000 + b"0]", None, 1))
        turns = 0
        while not parsing_it.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert isinstance(parsing_it.exception(), RefusalError)
        return turns

    assert with_decoders(work, Limits()) > 20


def test_long_json_has_the_answers_of_short(server: Server, image: bytes) -> None:
    for path, body_of in (("/v2/models/own/infer", v2_body), ("/v1/models/own:predict", tensorflow_body)):
        short, long = (server.post(path, body_of(one)) for one in (image, image + PAD))
        assert short.status_code == long.status_code == 200
        assert short.json() == long.json()
    head = {"inputs": [tensor(image)], "padding": "x" * parsing.LONG}
    body, headers = binary(head, b"")
    assert server.post("/v2/models/own/infer", body, headers={HEADER: headers[HEADER]}).status_code == 200
    assert server.post("/v2/models/own/infer", body, headers={HEADER: "9" * 20}).status_code == 400
