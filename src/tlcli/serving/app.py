"""The routes: for people (``/predict``), Open Inference Protocol V2, TensorFlow Serving, the page, metrics."""

import asyncio
import html
import importlib.resources
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import FastAPI, Request, Response

import tlcli
from tlcli.serving import parsing, protocol_tensorflow, protocol_v2
from tlcli.serving.batching import Answer, Batching, Options
from tlcli.serving.corrections import Corrections
from tlcli.serving.decoding import Decoders
from tlcli.serving.evidence import TrainingImages, evidence
from tlcli.serving.gate import BODY
from tlcli.serving.limits import Limits, RefusalError
from tlcli.serving.metrics import Metrics
from tlcli.serving.models import Model, Models
from tlcli.serving.refusals import KINDS, Refusals
from tlcli.serving.uploads import images_of

_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_IMAGE = {"content": {"application/octet-stream": {}, "multipart/form-data": {}}, "required": True}
_JSON = {"content": {"application/json": {}, "application/octet-stream": {}}, "required": True}
_OPTIONS = {
    "top": "The K most probable classes.",
    "min_confidence": 'The answer is "unsure" where the probability is lower.',
    "coverage": "0.8, 0.9, 0.95 or 0.99: also the classes among which the image's is with this probability.",
    "explain": "true: also a heat map and the nearest training images.",
    "model": "NAME or NAME/VERSION; repeatable. Default: the first.",
}


class Service:
    """What the routes share. The models are replaced as a whole by a reload."""

    def __init__(
        self, models: Models, limits: Limits, decoders: Decoders, min_confidence: float = 0.0,
        corrections: Corrections | None = None,
    ) -> None:  # fmt: skip
        """Makes the service.

        Args:
            models: to begin with.
            limits: of the queue and of requests.
            decoders: that are started by whoever runs the application.
            min_confidence: where a request gives none.
            corrections: where they are stored; None refuses them.
        """
        self.models, self.limits, self.decoders = models, limits, decoders
        self.batching = Batching(decoders, limits)
        self.metrics = Metrics(lambda: self.batching.waiting, lambda: decoders.restarts)
        self.corrections = corrections
        self.is_stopping = False
        self._min_confidence = min_confidence
        self._images = WeakKeyDictionary[Model, TrainingImages]()

    def body_bytes(self) -> int:
        """Bytes of a request's body at most."""
        if self.limits.body_bytes:
            return self.limits.body_bytes
        largest = max(trunk.preparation.max_file_mb for trunk in self.models.trunks)
        return round(largest * 2**20 * 4 / 3) + 2**16

    def replace(self, models: Models) -> None:
        """Serves other models from the next request on."""
        before, self.models = self.models, models
        before.replaced()

    # For people

    async def predict(self, request: Request) -> Response:
        """Classify images: the body is an image (curl -T image.jpg), or a form's files (curl -F image=@a.jpg)."""
        options, names = _options(request, self._min_confidence)
        images = images_of(request.headers.get("content-type", ""), request.scope[BODY], self.limits.images)
        with self.models.in_use() as models:
            chosen = [_named(models, *name.partition("/")[::2]) for name in names] or [models.all[0]]
            answers = await self._answers(images, chosen, options)
            records = [await self._record(answer, options) for of_image in answers for answer in of_image]
        is_bad = all(answer.prediction.error for of_image in answers for answer in of_image)
        return _json(records, 422 if is_bad else 200)

    async def _answers(
        self, images: Sequence[tuple[str, bytes]], models: Sequence[Model], options: Options
    ) -> list[list[Answer]]:  # fmt: skip
        found = await self.batching.answers(images, list(dict.fromkeys(models)), options)
        for answer in (answer for of_image in found for answer in of_image):
            self.metrics.answer(answer.model.name, answer.prediction)
        return found

    async def _record(self, answer: Answer, options: Options) -> dict[str, object]:
        model = answer.model
        record = {**answer.prediction.document(), "model": model.name, "version": model.version}
        if options.explain:
            record |= await evidence(answer, self.training_images(model), self.decoders)
        return record

    def training_images(self, model: Model) -> TrainingImages:
        """Of a model, kept as long as it is."""
        return self._images.setdefault(model, TrainingImages(model.run))

    async def correct(self, request: Request) -> Response:
        """Store an image that was classified wrongly (the body) with its class: "this is wrong: it is ..."."""
        if self.corrections is None:
            raise RefusalError("serve.corrections_off", 404)
        given = _query(request, {"label", "model"})
        label, name = given.get("label", [""])[0], given.get("model", [None])[0]
        with self.models.in_use() as models:
            model = _named(models, *name.partition("/")[::2]) if name else models.all[0]
            image = request.scope[BODY]
            await self.batching.check(image, model)
            is_new = await asyncio.to_thread(self.corrections.store, model.name, model.labels, label, image)
        return _json({"stored": is_new, "label": label, "model": model.name}, 201 if is_new else 200)

    async def about(self, request: Request) -> Response:  # noqa: ARG002 - the signature of a route
        """What is served: models with their classes, limits, whether corrections are stored."""
        found = [{"name": one.name, "version": one.version, "labels": one.labels} for one in self.models.all]
        limits = {"images": self.limits.images, "bytes": self.body_bytes(), "deadline_s": self.limits.deadline}
        return _json({
            "version": tlcli.__version__, "models": found, "corrections": self.corrections is not None,
            "limits": limits, "min_confidence": self._min_confidence,
        })  # fmt: skip

    async def read_metrics(self, request: Request) -> Response:  # noqa: ARG002
        """Metrics for Prometheus: requests, seconds, answers, shares of "unsure" and "none of these"."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    # Open Inference Protocol V2

    async def server(self, request: Request) -> Response:  # noqa: ARG002
        """V2: the server."""
        return _json(protocol_v2.server_metadata(tlcli.__version__))

    async def live(self, request: Request) -> Response:  # noqa: ARG002
        """V2: whether the server runs."""
        return Response(status_code=200)

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        """V2: whether it takes requests; 503 while it stops."""
        return Response(status_code=503 if self.is_stopping else 200)

    async def model(self, request: Request) -> Response:
        """V2: a model's inputs, outputs and classes."""
        model = self._of_path(request)
        versions = [one.version for one in self.models.versions(model.name)]
        return _json(protocol_v2.model_metadata(model.name, versions, model.labels))

    async def model_ready(self, request: Request) -> Response:
        """V2: whether a model takes requests."""
        self._of_path(request)
        return await self.ready(request)

    async def infer(self, request: Request) -> Response:
        """V2: classify images, elements of the BYTES tensor ``image``: base64 in JSON, or binary data."""
        parsed = await self._parsed(parsing.V2, request, request.headers.get(protocol_v2.HEADER))
        with self.models.in_use():
            model = self._of_path(request)
            predictions = await self._predictions(parsed.images, model)
        body, length = protocol_v2.encode(parsed, model.name, model.version, model.labels, predictions)
        if length is None:
            return Response(body, media_type="application/json")
        return Response(body, headers={protocol_v2.HEADER: str(length)}, media_type="application/octet-stream")

    async def _parsed(
        self, protocol: "parsing.Protocol[parsing.Request]", request: Request, header_length: str | None = None
    ) -> parsing.Request:  # fmt: skip
        return await protocol.request(request.scope[BODY], header_length, self.limits.images, self.decoders)

    async def _predictions(self, images: Sequence[bytes], model: Model) -> list[Any]:
        """Of all images.

        Raises:
            RefusalError: one is unreadable: these protocols have no place for a tensor without it.
        """
        named = [(f"image {number}", image) for number, image in enumerate(images, 1)]
        answers = await self._answers(named, [model], Options(min_confidence=self._min_confidence))
        found = [answer.prediction for (answer,) in answers]
        for one in found:
            if one.error_code is not None:
                raise RefusalError(one.error_code, 422)
        return found

    # TensorFlow Serving

    async def tensorflow(self, request: Request) -> Response:
        """TensorFlow Serving: classify images, given as {"b64": ...}."""
        parsed = await self._parsed(parsing.TENSORFLOW, request)
        with self.models.in_use():
            predictions = await self._predictions(parsed.images, self._of_path(request))
        return _json(protocol_tensorflow.answer(parsed, predictions))

    async def tensorflow_status(self, request: Request) -> Response:
        """TensorFlow Serving: the versions of a model."""
        return _json(protocol_tensorflow.status([
            one.version for one in self.models.versions(self._of_path(request).name)
        ]))  # fmt: skip

    def _of_path(self, request: Request) -> Model:
        return _named(self.models, request.path_params["name"], request.path_params.get("version", ""))


def make_app(service: Service, refusals: Refusals) -> FastAPI:
    """The application with all routes."""
    app, described = (
        FastAPI(title="tlcli", version=tlcli.__version__, docs_url=None, redoc_url=None, openapi_url=None)
        for _ in range(2)
    )
    one, v2 = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    tensorflow, versioned = "/v1/models/{name}", "/v1/models/{name}/versions/{version}"
    query = {"parameters": [{"name": n, "in": "query", "description": text} for n, text in _OPTIONS.items()]}
    for path, name, methods, extra in (
        ("/predict", "predict", ("POST", "PUT"), {"requestBody": _IMAGE, **query}),
        ("/corrections", "correct", ("POST", "PUT"), {"requestBody": _IMAGE}),
        ("/about", "about", ("GET",), {}),
        ("/metrics", "read_metrics", ("GET",), {}),
        ("/v2", "server", ("GET",), {}),
        ("/v2/health/live", "live", ("GET", "HEAD"), {}),
        ("/v2/health/ready", "ready", ("GET", "HEAD"), {}),
        *((path, "model", ("GET",), {}) for path in (one, v2)),
        *((f"{path}/ready", "model_ready", ("GET", "HEAD"), {}) for path in (one, v2)),
        *((f"{path}/infer", "infer", ("POST",), {"requestBody": _JSON}) for path in (one, v2)),
        *((f"{path}:predict", "tensorflow", ("POST",), {"requestBody": _JSON}) for path in (tensorflow, versioned)),
        *((path, "tensorflow_status", ("GET",), {}) for path in (tensorflow, versioned)),
    ):
        endpoint = getattr(service, name)
        summary = (endpoint.__doc__ or "").split("\n")[0]
        app.add_api_route(path, endpoint, methods=list(methods), response_class=Response, response_model=None)
        for method in methods:  # a route has one operationId for all its methods; the Allow of a 405 needs them in one
            described.add_api_route(
                path, endpoint, methods=[method], response_class=Response, summary=summary, openapi_extra=extra,
                operation_id=f"{name} {path} {method}", response_model=None,
            )  # fmt: skip
    folder = importlib.resources.files("tlcli.serving") / "page"
    for path, (file, kind) in _PAGE.items():
        route = _static((folder / file).read_bytes(), kind)
        app.add_api_route(path, route, methods=["GET", "HEAD"], include_in_schema=False, response_model=None)
    schema = json.dumps(described.openapi())
    app.add_api_route("/openapi.json", _static(schema.encode(), "application/json"), include_in_schema=False)
    app.add_api_route("/docs", _static(_documentation(described.openapi()), "text/html"), include_in_schema=False)

    async def refuse(request: Request, error: Exception) -> Response:
        return refusals.response(request.scope, error)

    for error_kind in KINDS:
        app.add_exception_handler(error_kind, refuse)
    return app


def _static(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:  # noqa: ARG001 - the signature of a route
        return Response(content, media_type=kind)

    return answer


def _documentation(schema: dict[str, Any]) -> bytes:
    """A page of all routes, without scripts from elsewhere."""
    rows = []
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            listed = "".join(
                f"<dd><code>{html.escape(one['name'])}</code> {html.escape(one.get('description', ''))}</dd>"
                for one in about.get("parameters", [])
                if one["in"] == "query"
            )
            address = html.escape(f"{method.upper()} {path}")
            rows.append(f"<dt><code>{address}</code></dt><dd>{html.escape(about['summary'])}</dd>{listed}")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>tlcli API</title><link rel="stylesheet" href="/page.css"><main><h1>tlcli {tlcli.__version__}</h1>'
        f'<p><a href="/openapi.json">OpenAPI</a></p><dl>{"".join(rows)}</dl></main></html>'
    ).encode()


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value) + "\n", status_code=status, media_type="application/json")


def _named(models: Models, name: str | None, version: str = "") -> Model:
    found = models.find(name, version or None)
    if found is None:
        raise RefusalError("serve.unknown_model", 404)
    return found


def _query(request: Request, allowed: set[str]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            raise RefusalError("serve.unknown_option", 400)
        given.setdefault(name, []).append(value)
    if any(len(values) > 1 for name, values in given.items() if name != "model"):
        raise RefusalError("serve.invalid_option", 400)
    return given


def _options(request: Request, min_confidence: float) -> tuple[Options, list[str]]:
    """The options of a request, and the models that it names."""
    given = _query(request, set(_OPTIONS))
    try:
        top = int(given.get("top", ["1"])[0])
        confidence = float(given.get("min_confidence", [str(min_confidence)])[0])
        coverage = float(given["coverage"][0]) if "coverage" in given else None
    except ValueError as error:
        raise RefusalError("serve.invalid_option", 400) from error
    explain = given.get("explain", ["false"])[0]
    if top < 1 or not 0 <= confidence <= 1 or explain not in ("true", "false") or coverage not in _COVERAGES:
        raise RefusalError("serve.invalid_option", 400)
    return Options(top, confidence, coverage, explain == "true"), given.get("model", [])


_COVERAGES = (None, 0.8, 0.9, 0.95, 0.99)
