"""TensorFlow Serving's predict: images as ``{"b64": ...}``, by row ("instances") or by column ("inputs")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.model.prediction import Prediction
from tlcli.serving.limits import RefusalError
from tlcli.serving.protocol_v2 import INPUT, decoded, load_json


@dataclass(frozen=True)
class PredictRequest:
    """A request."""

    images: tuple[bytes, ...]
    by_row: bool

    def fields(self) -> dict[str, object]:
        """All but the images, for JSON."""
        return {"by_row": self.by_row}

    @classmethod
    def restored(cls, fields: Mapping[str, Any], images: tuple[bytes, ...]) -> "PredictRequest":
        """The request that has these fields and images."""
        return cls(images, fields["by_row"])


def parse(body: bytes, header_length: str | None, most: int) -> PredictRequest:  # noqa: ARG001 - V2 has binary data
    """Parses a request.

    Raises:
        RefusalError: it is malformed, or has more images than it may have.
    """
    request = load_json(body)
    by_row = "instances" in request
    given = request.get("instances" if by_row else "inputs")
    if not by_row and isinstance(given, dict) and "b64" not in given:
        given = given.get(INPUT)
    if not by_row and isinstance(given, dict):
        given = [given]
    if not isinstance(given, list) or not given:
        raise RefusalError("serve.invalid_input", 400)
    if len(given) > most:
        raise RefusalError("serve.too_many_images", 413)
    return PredictRequest(tuple(_image(one) for one in given), by_row)


def _image(given: Any) -> bytes:
    if isinstance(given, dict) and set(given) == {INPUT}:
        given = given[INPUT]
    if not isinstance(given, dict) or set(given) != {"b64"}:
        raise RefusalError("serve.invalid_input", 400)
    return decoded(given["b64"])


def answer(request: PredictRequest, predictions: Sequence[Prediction]) -> dict[str, object]:
    """What is answered: a prediction for each image, or a column for each output."""
    rows: list[dict[str, object]] = [
        {
            "probabilities": list(one.probabilities),
            "distance": one.distance,
            "label": one.best_guess,
            "answer": one.answer,
        }
        for one in predictions
    ]
    if request.by_row:
        return {"predictions": rows}
    return {"outputs": {name: [row[name] for row in rows] for name in rows[0]}}


def status(versions: Sequence[str]) -> dict[str, object]:
    """What ``GET /v1/models/NAME`` answers."""
    fine = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": one, "state": "AVAILABLE", "status": fine} for one in versions]}
