"""A program for an environment with tritonclient[http], whose pins clash with ours: asks as Triton's clients do.

python triton_client.py HOST:PORT MODEL IMAGE...    (prints what it got as JSON)
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton


def main() -> None:
    """Asks for everything that the client can ask for."""
    address, name, *paths = sys.argv[1:]
    client = triton.InferenceServerClient(address)
    images = np.array([Path(path).read_bytes() for path in paths], dtype=np.object_)
    found: dict[str, object] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(name),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata(name),
    }
    for kind, binary in (("binary", True), ("json", False)):
        tensor = triton.InferInput("image", [len(images)], "BYTES")
        tensor.set_data_from_numpy(images, binary_data=True)
        outputs = [
            triton.InferRequestedOutput("probabilities", binary_data=binary),
            triton.InferRequestedOutput("label", binary_data=binary),
        ]
        answer = client.infer(name, [tensor], outputs=outputs, request_id="7")
        labels = [one.decode() if isinstance(one, bytes) else one for one in answer.as_numpy("label").tolist()]
        found[kind] = {
            "id": answer.get_response()["id"],
            "probabilities": answer.as_numpy("probabilities").tolist(),
            "labels": labels,
        }
    tensor = triton.InferInput("image", [len(images)], "BYTES")
    tensor.set_data_from_numpy(images)
    everything = client.infer(name, [tensor])
    found["all"] = {
        one: list(everything.as_numpy(one).shape) for one in ("probabilities", "distance", "label", "answer")
    }
    top = client.infer(name, [tensor], outputs=[triton.InferRequestedOutput("probabilities", class_count=2)])
    found["classes"] = [[one.decode() for one in row] for row in top.as_numpy("probabilities").tolist()]
    try:
        client.infer("other", [tensor])
    except triton.InferenceServerException as error:
        found["error"] = error.message()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
