"""Open Inference Protocol V2 and TensorFlow Serving: JSON, binary data, classification, a real client."""

import base64
import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from tests.serving.conftest import Server

from tlcli.serving.limits import RefusalError
from tlcli.serving.protocol_v2 import parse

ROOT = Path(__file__).parents[2]
HEADER = "Inference-Header-Content-Length"


def text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def tensor(*images: bytes, **fields: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": list(map(text, images)), **fields}


def binary(head: dict[str, Any], data: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request with binary data."""
    written = json.dumps(head).encode()
    return written + data, {HEADER: str(len(written))}


def packed(*images: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


@pytest.fixture(scope="module")
def images(trained: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((trained / "data/test").rglob("*.png"))[:3]]


@pytest.fixture(scope="module")
def expected(server: Server, images: list[bytes]) -> list[dict[str, Any]]:
    """What /predict says of them."""
    return [server.post("/predict?top=2", image).json()[0] for image in images]


def test_server_and_models_are_described(server: Server, trained: Path) -> None:
    assert set(server.get("/v2").json()["extensions"]) == {"binary_tensor_data", "classification"}
    version = (trained / "runs/own/latest").resolve().name
    for path in ("/v2/models/own", f"/v2/models/own/versions/{version}"):
        about = server.get(path).json()
        assert (about["name"], about["versions"]) == ("own", [version])
        assert about["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
        assert about["outputs"][0] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}
        assert server.get(f"{path}/ready").status_code == 200
    assert server.get("/v2/models/own/versions/1").status_code == 404
    assert server.get("/v2/models/own/versions/1/ready").status_code == 404


def test_json_has_base64_and_all_outputs(server: Server, images: list[bytes], expected: list[dict[str, Any]]) -> None:
    answer = server.post("/v2/models/own/infer", {"id": "a", "inputs": [tensor(*images)]}).json()
    outputs = {one["name"]: one for one in answer["outputs"]}
    assert answer["id"] == "a"
    assert {name: (one["datatype"], one["shape"]) for name, one in outputs.items()} == {
        "probabilities": ("FP32", [3, 2]), "distance": ("FP32", [3]), "label": ("BYTES", [3]), "answer": ("BYTES", [3]),
    }  # fmt: skip
    assert outputs["label"]["data"] == [one["best_guess"] for one in expected]
    assert outputs["answer"]["data"] == [one["answer"] for one in expected]
    assert outputs["distance"]["data"] == pytest.approx([one["distance"] for one in expected])
    best = np.array(outputs["probabilities"]["data"]).reshape(3, 2).max(axis=1)
    assert best.tolist() == pytest.approx([one["probability"] for one in expected])


def test_binary_data_in_and_out(server: Server, images: list[bytes], expected: list[dict[str, Any]]) -> None:
    data = packed(*images)
    given = tensor(*images, parameters={"binary_data_size": len(data)})
    del given["data"]
    asked = [{"name": "label", "parameters": {"binary_data": False}}, {"name": "probabilities"}]
    body, headers = binary({"inputs": [given], "outputs": asked, "parameters": {"binary_data_output": True}}, data)
    answer = server.post("/v2/models/own/infer", body, headers=headers)
    length = int(answer.headers[HEADER])
    head = json.loads(answer.content[:length])
    label, probabilities = head["outputs"]
    assert label["data"] == [one["best_guess"] for one in expected]
    assert probabilities["parameters"]["binary_data_size"] == 24 == len(answer.content) - length
    best = np.frombuffer(answer.content[length:], "<f4").reshape(3, 2).max(axis=1)
    assert best.tolist() == pytest.approx([one["probability"] for one in expected], abs=1e-6)


def test_classification_gives_scores_indices_and_labels(
    server: Server, images: list[bytes], expected: list[dict[str, Any]]
) -> None:
    asked = {"inputs": [tensor(images[0], shape=[1, 1])]}
    for count in (1, 2, 9):
        request = {**asked, "outputs": [classified("probabilities", count)]}
        (found,) = server.post("/v2/models/own/infer", request).json()["outputs"]
        assert (found["datatype"], found["shape"]) == ("BYTES", [1, min(count, 2)])
        score, index, label = found["data"][0].split(":")
        assert float(score) == pytest.approx(expected[0]["probability"], abs=1e-6)
        assert ["left", "right"][int(index)] == label == expected[0]["best_guess"]


def classified(name: str, count: int) -> dict[str, Any]:
    return {"name": name, "parameters": {"classification": count}}


GOOD = tensor(b"x")


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"", {}, "serve.invalid_json"),
        (b"[]", {}, "serve.invalid_json"),
        (b"[" * 100_000, {}, "serve.invalid_json"),
        (b'{"inputs": ' + b"9" * 5000 + b"}", {}, "serve.invalid_json"),
        ({}, {}, "serve.invalid_json"),
        ({"inputs": {}}, {}, "serve.invalid_json"),
        ({"inputs": []}, {}, "serve.invalid_input"),
        ({"inputs": [1]}, {}, "serve.invalid_json"),
        ({"inputs": [GOOD, GOOD]}, {}, "serve.invalid_input"),
        ({"inputs": [{**GOOD, "name": "x"}]}, {}, "serve.invalid_input"),
        ({"inputs": [{**GOOD, "datatype": "FP32"}]}, {}, "serve.invalid_input"),
        ({"inputs": [{**GOOD, "data": ["no base64!"]}]}, {}, "serve.invalid_base64"),
        ({"inputs": [{**GOOD, "data": [1]}]}, {}, "serve.invalid_base64"),
        ({"inputs": [{**GOOD, "shape": [2]}]}, {}, "serve.invalid_shape"),
        ({"inputs": [{**GOOD, "shape": [True]}]}, {}, "serve.invalid_shape"),
        ({"inputs": [{**GOOD, "shape": [-1]}]}, {}, "serve.invalid_shape"),
        ({"inputs": [{**GOOD, "shape": [1, 2]}]}, {}, "serve.invalid_shape"),
        ({"inputs": [{**GOOD, "shape": [33]}]}, {}, "serve.too_many_images"),
        ({"inputs": [GOOD], "id": 7}, {}, "serve.invalid_json"),
        ({"inputs": [GOOD], "outputs": [{"name": "none"}]}, {}, "serve.invalid_output"),
        ({"inputs": [GOOD], "outputs": [classified("label", 1)]}, {}, "serve.invalid_output"),
        ({"inputs": [GOOD], "outputs": [classified("probabilities", -1)]}, {}, "serve.invalid_output"),
        ({"inputs": [GOOD]}, {HEADER: "9999"}, "serve.invalid_header_length"),
        ({"inputs": [GOOD]}, {HEADER: "-1"}, "serve.invalid_header_length"),
        ({"inputs": [GOOD]}, {HEADER: "5"}, "serve.invalid_json"),
        ({"inputs": [{**GOOD, "parameters": {"binary_data_size": 4}}]}, {}, "serve.invalid_binary_data"),
        ({"inputs": [GOOD]}, {}, "image.unknown_format"),
    ],
)  # fmt: skip
def test_malformed_requests_have_codes(server: Server, body: object, headers: dict[str, str], code: str) -> None:
    answer = server.post("/v2/models/own/infer", body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"] == f"{code} ({answer.headers['x-request-id']})"


def test_binary_lengths_that_lie_are_refused(server: Server) -> None:
    for data in (b"\1\0\0", struct.pack("<I", 2**32 - 1) + b"x", packed(b"a", b"b"), packed(b"a") + b"\0"):
        given = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
        body, headers = binary({"inputs": [given]}, data)
        answer = server.post("/v2/models/own/infer", body, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("serve.invalid_")


def test_tensorflow_serving_by_row_and_by_column(
    server: Server, images: list[bytes], expected: list[dict[str, Any]]
) -> None:
    given = [{"b64": text(image)} for image in images]
    rows = server.post("/v1/models/own:predict", {"instances": given}).json()["predictions"]
    named = server.post("/v1/models/own:predict", {"instances": [{"image": one} for one in given]}).json()
    assert rows == named["predictions"]
    assert [one["label"] for one in rows] == [one["best_guess"] for one in expected]
    assert [max(one["probabilities"]) for one in rows] == pytest.approx([one["probability"] for one in expected])
    columns = server.post("/v1/models/own:predict", {"inputs": {"image": given}}).json()["outputs"]
    assert columns["label"] == [one["label"] for one in rows]
    (status,) = server.get("/v1/models/own").json()["model_version_status"]
    assert status["state"] == "AVAILABLE"
    assert server.post(f"/v1/models/own/versions/{status['version']}:predict", {"instances": given}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"instances": []}, {"instances": [{}]}, {"instances": ["x"]}, {"instances": [{"b64": "?"}]}, {"inputs": 1}],
)
def test_malformed_requests_to_tensorflow_serving(server: Server, body: object) -> None:
    answer = server.post("/v1/models/own:predict", body)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


def test_metrics_count_answers_and_their_shares(server: Server, images: list[bytes]) -> None:
    before = server.metric('tlcli_answers_total{kind="unsure",model="own"}')
    server.post("/predict?min_confidence=1", images[0])
    assert server.metric('tlcli_answers_total{kind="unsure",model="own"}') == before + 1
    kinds = ("class", "unsure", "none_of_these")
    shares = [server.metric(f'tlcli_answer_share{{kind="{kind}",model="own"}}') for kind in kinds]
    assert sum(shares) == pytest.approx(1)
    assert shares[1] > 0
    assert server.metric('tlcli_requests_total{route="/predict",status="200"}') > 0
    assert server.metric("tlcli_queue_images") == 0
    assert "/nonsense" not in server.get("/metrics").text
    server.get("/nonsense")
    assert "/nonsense" not in server.get("/metrics").text


def test_tritonclient_gets_the_same_answers(server: Server, trained: Path, expected: list[dict[str, Any]]) -> None:
    python = Path(os.environ.get("TLCLI_TRITON", ROOT / "build" / "triton")) / "bin" / "python"
    if not python.is_file():
        pytest.skip("tritonclient[http] is missing ($TLCLI_TRITON is a virtual environment with it)")
    paths = sorted((trained / "data/test").rglob("*.png"))[:3]
    program = Path(__file__).with_name("triton_client.py")
    command = [str(python), str(program), f"127.0.0.1:{server.port}", "own", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    found = json.loads(done.stdout)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)
    for kind in ("binary", "json"):
        assert found[kind]["id"] == "7"
        assert found[kind]["labels"] == [one["best_guess"] for one in expected]
        best = [max(row) for row in found[kind]["probabilities"]]
        assert best == pytest.approx([one["probability"] for one in expected], abs=1e-6)
    assert found["all"] == {"probabilities": [3, 2], "distance": [3], "label": [3], "answer": [3]}
    assert [row[0].split(":")[2] for row in found["classes"]] == [one["best_guess"] for one in expected]
    assert found["error"].startswith("serve.unknown_model")


def test_requests_of_other_methods_say_which_there_are(server: Server) -> None:
    answer = requests.delete(f"{server.url}/predict", timeout=5)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("outputs", [["label", "label"], ["probabilities"] * 5, ["probabilities"] * 200_000])
def test_an_output_is_asked_for_once(outputs: list[str]) -> None:
    body = json.dumps({"inputs": [GOOD], "outputs": [{"name": name} for name in outputs]}).encode()
    with pytest.raises(RefusalError) as raised:
        parse(body, None, 8)
    assert (raised.value.code, raised.value.status) == ("serve.invalid_output", 400)


def test_a_header_length_may_have_many_zeros() -> None:
    body = json.dumps({"inputs": [GOOD]}).encode()
    assert parse(body, "0" * 5000 + str(len(body)), 8).images == (b"x",)
    for length in ("0" * 30 + "999999999", "9" * 5000, "x", ""):
        with pytest.raises(RefusalError) as raised:
            parse(body, length, 8)
        assert raised.value.code == "serve.invalid_header_length"
