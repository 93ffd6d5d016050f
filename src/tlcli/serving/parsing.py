"""Requests in JSON: a short one is parsed in the server, a long one by a decoder process.

json and base64 hold the interpreter until they are done, in a thread as well: 0.5 to 2 s for an image of 60 MB, 9 s for
80 MB of empty lists. Meanwhile no other client would be answered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tlcli.serving import protocol_tensorflow, protocol_v2
from tlcli.serving.limits import RefusalError

if TYPE_CHECKING:
    from tlcli.serving.decoding import Decoders

LONG = 2**18
"""Bytes of JSON from which on a decoder process parses; fewer take some milliseconds at most."""
Request = TypeVar("Request", protocol_v2.InferRequest, protocol_tensorflow.PredictRequest)


@dataclass(frozen=True)
class Protocol(Generic[Request]):
    """How requests of a protocol are parsed."""

    name: str
    parse: Callable[[bytes, str | None, int], Request]
    """The body, the header ``Inference-Header-Content-Length``, images at most."""
    restored: Callable[[Mapping[str, Any], tuple[bytes, ...]], Request]
    """From ``Request.fields()`` and the images."""

    async def request(self, body: bytes, header_length: str | None, most: int, decoders: "Decoders") -> Request:
        """Parses a request.

        Raises:
            RefusalError: it is malformed, or too costly to parse.
        """
        if protocol_v2.json_bytes(body, header_length) < LONG:
            return self.parse(body, header_length, most)
        fields, images = await decoders.parse(self.name, body, header_length, most)
        return self.restored(fields, tuple(images))


V2 = Protocol("v2", protocol_v2.parse, protocol_v2.InferRequest.restored)
TENSORFLOW = Protocol("tensorflow", protocol_tensorflow.parse, protocol_tensorflow.PredictRequest.restored)
_PROTOCOLS: "Mapping[str, Protocol[Any]]" = {one.name: one for one in (V2, TENSORFLOW)}


def parsed(name: str, body: bytes, header_length: str | None, most: int) -> tuple[dict[str, object], Sequence[bytes]]:
    """What a decoder process answers: the fields of a request and its images, or a ``refusal``: code and status."""
    try:
        request = _PROTOCOLS[name].parse(body, header_length, most)
    except RefusalError as error:
        return {"refusal": [error.code, error.status]}, ()
    return {"fields": request.fields(), "sizes": [len(image) for image in request.images]}, request.images
