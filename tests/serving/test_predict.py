"""For people: POST /predict answers as predict --json does; what is refused, and with what code."""

import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests
from tests.commands import in_process
from tests.serving.conftest import Server, serving, wait_until

from tlcli.serving.app import Service, make_app
from tlcli.serving.decoding import Decoders
from tlcli.serving.limits import Limits, RefusalError
from tlcli.serving.refusals import Refusals
from tlcli.serving.uploads import images_of

if TYPE_CHECKING:
    from tlcli.serving.models import Models


def error_of(answer: requests.Response) -> tuple[int, str]:
    """Status and code; a refusal has nothing but these and an id."""
    found = answer.json()["error"]
    assert set(found) == {"code", "id"}
    assert found["id"] == answer.headers["x-request-id"]
    return answer.status_code, found["code"]


def without_path(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("path", "model", "version")}


def test_answers_are_those_of_predict(server: Server, trained: Path) -> None:
    paths = sorted((trained / "data/test").rglob("*.png"))
    done = in_process(trained, trained / "cache")("predict", *paths, "--top", 2, "--json")
    for path, expected in zip(paths, done.json(), strict=True):
        (found,) = server.post("/predict?top=2", path.read_bytes()).json()
        assert without_path(found) == without_path(expected)
    files = [("image", (path.name, path.read_bytes())) for path in paths]
    answer = requests.post(f"{server.url}/predict?top=2", files=files, timeout=20)
    assert [without_path(one) for one in answer.json()] == [without_path(one) for one in done.json()]
    assert [one["path"] for one in answer.json()] == [path.name for path in paths]
    assert {(one["model"], one["version"]) for one in answer.json()} == {
        ("own", (trained / "runs/own/latest").resolve().name)
    }


def test_put_is_what_curl_sends(server: Server, image: bytes) -> None:
    assert requests.put(f"{server.url}/predict", data=image, timeout=20).json()[0]["label"] in ("left", "right")


def test_unsure_and_prediction_sets_are_options(server: Server, image: bytes) -> None:
    (found,) = server.post("/predict?min_confidence=1", image).json()
    assert (found["label"], found["answer"]) == (None, "unsure")
    (found,) = server.post("/predict?coverage=0.8", image).json()
    assert found["best_guess"] in found["prediction_set"]
    assert error_of(server.post("/predict?coverage=0.99", image)) == (422, "model.no_prediction_sets")


def test_unreadable_images_have_codes_and_no_texts(server: Server, image: bytes) -> None:
    answer = server.post("/predict", image[: len(image) // 2])
    assert answer.status_code == 422
    (found,) = answer.json()
    assert (found["error"], found["error_code"], found["label"]) == ("image.broken", "image.broken", None)
    mixed = requests.post(
        f"{server.url}/predict", files=[("a", ("a.png", image)), ("b", ("b.png", b"text"))], timeout=20
    )
    assert mixed.status_code == 200
    assert [one["error_code"] for one in mixed.json()] == [None, "image.unknown_format"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "expected"),
    [
        ("/predict?top=0", b"", {}, (400, "serve.invalid_option")),
        ("/predict?top=x", b"", {}, (400, "serve.invalid_option")),
        ("/predict?min_confidence=nan", b"", {}, (400, "serve.invalid_option")),
        ("/predict?coverage=0.5", b"", {}, (400, "serve.invalid_option")),
        ("/predict?top=1&top=2", b"", {}, (400, "serve.invalid_option")),
        ("/predict?explain=1", b"", {}, (400, "serve.invalid_option")),
        ("/predict?url=http://127.0.0.1/", b"", {}, (400, "serve.unknown_option")),
        ("/predict?model=other", b"", {}, (404, "serve.unknown_model")),
        ("/predict?model=../own", b"", {}, (404, "serve.unknown_model")),
        ("/predict", b"x" * 3_000_000, {}, (413, "serve.body_too_large")),
        ("/predict", b"x", {"Content-Encoding": "gzip"}, (415, "serve.compressed_body")),
        ("/predict", b"x", {"Content-Type": "multipart/form-data"}, (400, "serve.invalid_form")),
        ("/predict", b"x", {"Content-Type": "multipart/form-data; boundary=a"}, (400, "serve.invalid_form")),
        ("/predict", b"--a--\r\n", {"Content-Type": "multipart/form-data; boundary=a"}, (400, "serve.no_image")),
        ("/none", b"", {}, (404, "serve.not_found")),
        ("/v2x", b"", {}, (404, "serve.not_found")),
        ("/about", b"", {}, (405, "serve.method_not_allowed")),
    ],
)
def test_what_is_wrong_has_a_code(
    server: Server, path: str, body: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    answer = server.post(path, body, headers=headers)
    if path == "/v2x":  # of a protocol whose errors are a text
        assert answer.json()["error"].startswith(expected[1])
        return
    assert error_of(answer) == expected


def test_a_form_has_a_limited_number_of_parts() -> None:
    part, end = b"--a\r\n\r\n\r\n", b"--a--\r\n"
    codes = []
    for count in (900, 20_000):
        with pytest.raises(RefusalError) as raised:
            images_of("multipart/form-data; boundary=a", part * count + end, 32)
        codes.append(raised.value.code)
    assert codes == ["serve.no_image", "serve.invalid_form"]


def test_a_form_has_a_limited_number_of_files(server: Server, image: bytes) -> None:
    few = requests.post(f"{server.url}/predict", files=[("a", ("a", image))] * 32, timeout=20)
    assert len(few.json()) == 32
    many = requests.post(f"{server.url}/predict", files=[("a", ("a", b""))] * 33, timeout=20)
    assert error_of(many) == (413, "serve.too_many_images")
    none = requests.post(f"{server.url}/predict", files=[("a", (None, "text"))], timeout=20)
    assert error_of(none) == (400, "serve.no_image")


def test_what_is_served_is_described(server: Server) -> None:
    about = server.get("/about").json()
    assert [one["labels"] for one in about["models"]] == [["left", "right"]]
    assert about["corrections"] is True
    paths = server.get("/openapi.json").json()["paths"]
    ids = [about["operationId"] for methods in paths.values() for about in methods.values()]
    assert len(set(ids)) == len(ids)
    assert set(paths["/predict"]) == {"post", "put"}
    assert set(server.get("/predict").headers["allow"].split(", ")) == {"POST", "PUT"}
    assert {"/predict", "/corrections", "/v2/models/{name}/infer", "/v1/models/{name}:predict"} <= set(paths)
    assert "/predict" in server.get("/docs").text


def test_headers_of_every_answer_keep_browsers_in_bounds(server: Server) -> None:
    for path in ("/", "/docs", "/about", "/none", "/metrics"):
        headers = server.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert "server" not in headers


def test_requests_at_work_are_answered_before_the_end(trained: Path, image: bytes) -> None:
    with serving(trained) as one:
        assert one.get("/v2/health/ready").status_code == 200
        answers: list[int] = []

        def ask() -> None:
            answers.extend(requests.post(f"{one.url}/predict", data=image, timeout=20).status_code for _ in range(1))

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        wait_until(lambda: one.metric("tlcli_queue_images") > 0 or answers)
        began = time.monotonic()
        assert one.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 8
        for thread in threads:
            thread.join()
        assert set(answers) <= {200}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--host", "0.0.0.0"), "usage.token_required"),
        (("--host", "no such host"), "usage.token_required"),
        (("--token-file", "none"), "usage.token_unreadable"),
        (("--token-file", "own.yaml"), "usage.token_invalid"),
        (("--run", "nowhere"), "usage.run_not_found"),
        (("--run", "latest", "--run", "latest"), "usage.run_twice"),
    ],
)
def test_what_cannot_be_served_has_a_code(trained: Path, arguments: tuple[str, ...], code: str) -> None:
    done = in_process(trained, trained / "cache")("serve", "--port", 0, "--json", *arguments)
    assert done.error == code


def test_a_port_in_use_is_an_error(trained: Path, server: Server) -> None:
    done = in_process(trained, trained / "cache")("serve", "--port", server.port, "--json")
    assert (done.code, done.error) == (6, "resource.port_in_use")


@pytest.mark.filterwarnings("error")
def test_the_routes_are_described_without_warnings() -> None:
    decoders = Decoders(1, Limits())
    service = Service(cast("Models", None), Limits(), decoders)
    assert make_app(service, Refusals(service.metrics, print)).routes
