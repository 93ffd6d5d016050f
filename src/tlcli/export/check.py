"""Checks an exported model: files, answers for the sample image, batches. Run it in the folder of the export.

    python check.py [ARTEFACT] [IMAGE ...]

ARTEFACT is a folder such as openvino-f32; without it, every artefact whose runtime is installed is checked. With
images, their answers are printed as well. Needs Python, NumPy and the artefact's runtime; images need Pillow.

This file is also the module tlcli.export.check, with which the export itself was checked.
Shapes: N images, H and W height and width in pixels, L classes.
"""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

HERE = Path(__file__).resolve().parent
Runs = Callable[[Any], "dict[str, Any]"]
"""uint8 [N, H, W, 3] -> arrays by the names of the outputs."""
_MODULES = {
    "openvino": "openvino", "onnx": "onnxruntime", "saved_model": "tensorflow", "keras": "tensorflow",
    "tflite": "ai_edge_litert",
}  # fmt: skip
_TURNED = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Pillow's operation (``Image.Transpose``) that undoes each EXIF orientation."""


def open_artefact(kind: str, path: "str | Path") -> Runs:
    """Opens an artefact in its own runtime.

    Args:
        kind: openvino, onnx, saved_model, keras or tflite.
        path: the file, or the folder of a SavedModel.
    """
    return _OPENERS[kind](str(path))


def _openvino(path: str) -> Runs:
    import openvino

    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = model.create_infer_request()
    names = [output.get_any_name() for output in model.outputs]
    return lambda images: {name: array.copy() for name, array in zip(names, request.infer([images]).values())}  # noqa: B905


def _onnx(path: str) -> Runs:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"image": images})))  # noqa: B905


def _saved_model(path: str) -> Runs:
    import tensorflow

    loaded = tensorflow.saved_model.load(path)
    serve = loaded.signatures["serving_default"]
    # The function belongs to the loaded object, which must not be freed before it.
    return lambda images: {
        name: one.numpy() for name, one in serve(image=tensorflow.constant(images)).items() if loaded is not None
    }


def _keras(path: str) -> Runs:
    import keras

    model = keras.models.load_model(path)
    return lambda images: {name: np.asarray(one) for name, one in model.predict_on_batch(images).items()}


def _tflite(path: str) -> Runs:
    import os

    from ai_edge_litert.interpreter import Interpreter

    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    run = Interpreter(path, num_threads=cores).get_signature_runner()
    return lambda images: {name: array.copy() for name, array in run(image=images).items()}


_OPENERS: "dict[str, Callable[[str], Runs]]" = {
    "openvino": _openvino, "onnx": _onnx, "saved_model": _saved_model, "keras": _keras, "tflite": _tflite,
}  # fmt: skip


def prepare(image: "str | Path | IO[bytes]", how: "dict[str, Any] | None" = None) -> Any:
    """Reads an image file and resizes it as in training.

    Args:
        image: a path or an open file, of 8 bits a channel; tlcli itself also reads deeper ones, and more of what TIFF
            can hold. ``sample.png`` beside this file has been resized already and is not resized again.
        how: ``preparation`` of export.json, which is read where this is None.

    Returns:
        uint8 [1, H, W, 3]; of an artefact that takes images of any size, the image as it is.
    """
    from PIL import Image

    if how is None:
        how = read_export()["preparation"]
        if isinstance(image, str | Path) and Path(image).resolve() == HERE / "sample.png":
            return np.load(HERE / "sample.npy")
    with Image.open(image) as opened:
        by = _reduced(opened, how)
        box: tuple[float, ...] | None = None
        if by > 1:
            reduced = opened.draft(None, (max(1, opened.width // by), max(1, opened.height // by)))
            box = reduced[1] if reduced else None
        orientation = opened.getexif().get(0x0112)
        opened.load()
        upright: Image.Image = opened
        if orientation in _TURNED:
            upright = opened.transpose(Image.Transpose(_TURNED[orientation]))
            box = _turned(box, opened.size, orientation) if box else None
        if upright.has_transparency_data:
            ground = Image.new("RGBA", upright.size, (*how["background"], 255))
            rgb = Image.alpha_composite(ground, upright.convert("RGBA")).convert("RGB")
        else:
            rgb = upright.convert("RGB")
    if how["input"] == "any":
        return np.asarray(rgb)[None]
    return np.asarray(_resized(rgb, box or (0, 0, *rgb.size), how))[None]


def _turned(box: "tuple[float, ...]", size: "tuple[int, int]", orientation: int) -> "tuple[float, ...]":
    """Where the image is within a reduced JPEG, whose last blocks may extend past its edge, once it is upright."""
    (_, _, right, bottom), (width, height) = box, size
    left, top = width - right, height - bottom
    return {
        2: (left, 0, width, bottom), 3: (left, top, width, height), 4: (0, top, right, height),
        5: (0, 0, bottom, right), 6: (top, 0, height, right), 7: (top, left, height, width),
        8: (0, left, bottom, width),
    }[orientation]  # fmt: skip


def _reduced(opened: Any, how: "dict[str, Any]") -> int:
    """By how much a JPEG is reduced while it is decoded: it stays a quarter larger than needed."""
    if opened.format not in ("JPEG", "MPO") or how["input"] == "any":
        return 1
    height, width = how["size"]
    size = opened.size[::-1] if (opened.getexif().get(0x0112) or 0) >= 5 else opened.size
    seen = _seen(size, how)
    return next((by for by in (8, 4, 2) if seen[0] / by >= 1.25 * width and seen[1] / by >= 1.25 * height), 1)


def _seen(size: "tuple[float, float]", how: "dict[str, Any]") -> "tuple[float, float]":
    """Width and height of the part of an image that the network sees."""
    (width, height), aspect = size, how["size"][1] / how["size"][0]
    if how["resize"] == "squash":
        return width, height
    if how["resize"] == "pad":
        return max(width, height * aspect), max(height, width / aspect)
    part = how["crop_fraction"]
    return min(width, height * aspect) * part, min(height, width / aspect) * part


def _resized(rgb: Any, box: "tuple[float, ...]", how: "dict[str, Any]") -> Any:
    from PIL import Image

    (height, width), resampling = how["size"], Image.Resampling[how["interpolation"].upper()]
    left, top, right, bottom = box
    size = right - left, bottom - top
    seen = _seen(size, how)
    if how["resize"] == "squash":
        return rgb.resize((width, height), resampling, box)
    if how["resize"] == "pad":
        inner = max(1, round(size[0] / seen[0] * width)), max(1, round(size[1] / seen[1] * height))
        padded = Image.new("RGB", (width, height), tuple(how["background"]))
        at = round((width - inner[0]) / 2), round((height - inner[1]) / 2)
        padded.paste(rgb.resize(inner, resampling, box), at)
        return padded
    x, y = left + (size[0] - seen[0]) / 2, top + (size[1] - seen[1]) / 2
    return rgb.resize((width, height), resampling, (x, y, x + seen[0], y + seen[1]))


def answers(outputs: "dict[str, Any]", head: "dict[str, Any]") -> "list[str]":
    """The answers: a class, or "none of these" for an image unlike all training images.

    Args:
        outputs: of the artefact.
        head: one of ``heads`` of export.json.
    """
    scores = outputs[head["probabilities"]]
    if head["thresholds"]:
        scores = scores / np.array(head["thresholds"])
    far = outputs[head["distance"]][:, 0] > head["distance_limit"]
    return ["none of these" if out else head["labels"][place] for place, out in zip(scores.argmax(axis=1), far)]  # noqa: B905


def read_export() -> "dict[str, Any]":
    """What export.json beside this file holds."""
    found: dict[str, Any] = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
    return found


def problems(export: "dict[str, Any]", artefact: "dict[str, Any]", runs: "Runs | None" = None) -> "list[str]":
    """What is wrong with an artefact; empty where it is as it was exported.

    Args:
        export: export.json.
        artefact: one of its ``artefacts``.
        runs: the opened artefact; None opens it.
    """
    for name, sha256 in artefact["files"].items():
        path = HERE / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            return [f"{name} is missing or was changed"]
    runs = runs or open_artefact(artefact["format"], HERE / artefact["path"])
    image, found = np.load(HERE / "sample.npy"), []
    for images in (image, np.concatenate([image, image[:, ::-1], image])):
        outputs = runs(images)
        for head, expected in zip(export["heads"], export["sample"]["expected"]):  # noqa: B905
            got = outputs[head["probabilities"]]
            if got.shape != (len(images), len(head["labels"])):
                found.append(f"{len(images)} images give {head['probabilities']} of shape {list(got.shape)}")
            elif not (
                (error := float(np.abs(got[0] - np.array(expected["probabilities"])).max())) <= artefact["tolerance"]
            ):
                found.append(f"{head['probabilities']} differ by {error:.2g} from those of the trained model")
            elif not abs(float(outputs[head["distance"]][0, 0]) - expected["distance"]) <= artefact["tolerance"]:
                found.append(f"{head['distance']} is not that of the trained model")
    return found


def described(outputs: "dict[str, Any]", head: "dict[str, Any]") -> str:
    """The answer to the first image, and what it rests on."""
    answer = answers(outputs, head)[0]
    if answer in head["labels"]:
        number = float(outputs[head["probabilities"]][0, head["labels"].index(answer)])
        text = f"{answer} (probability {number:.4f})"
    else:
        text = f"{answer} (distance {float(outputs[head['distance']][0, 0]):.4g}, limit {head['distance_limit']:.4g})"
    return f"{head['name']} {text}".strip()


def _unusable(images: "list[str]", known: "dict[str, Any]") -> str:
    """What is wrong with the arguments that are no artefacts; empty where they are files that can be opened."""
    missing = [one for one in images if not Path(one).is_file()]
    if missing:
        return f"{', '.join(missing)}: neither an image file nor one of {', '.join(known)}"
    return "Images need Pillow: pip install pillow" if images and importlib.util.find_spec("PIL") is None else ""


def _answer_lines(image: str, runs: Runs, export: "dict[str, Any]") -> "tuple[list[str], bool]":
    """The answers of all heads to an image, or why there are none; whether it could be read."""
    try:
        pixels = prepare(image)
    except Exception as error:  # noqa: BLE001 - Pillow's, of many kinds
        return [f"{image}: cannot be read: {error}"], False
    outputs = runs(pixels)
    return [f"{image}: {described(outputs, head)}" for head in export["heads"]], True


def main() -> None:
    """Checks what the arguments name, prints what was found, and exits with 1 if something is wrong."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    export = read_export()
    known = {one["folder"]: one for one in export["artefacts"]}
    asked = [one for one in arguments if one.rstrip("/") in known]
    images = [one for one in arguments if one not in asked]
    if reason := _unusable(images, known):
        sys.exit(reason)
    bad = checked = 0
    for artefact in [known[one.rstrip("/")] for one in asked] or known.values():
        if importlib.util.find_spec(_MODULES[artefact["format"]]) is None:
            print(f"{artefact['folder']}: not checked, as its runtime is missing: pip install {artefact['runtime']}")
            bad += bool(asked)
            continue
        runs = open_artefact(artefact["format"], HERE / artefact["path"])
        wrong, checked = problems(export, artefact, runs), checked + 1
        bad += bool(wrong)
        print(f"{artefact['folder']}: {'; '.join(wrong) or 'passed'}")
        for image in images:
            lines, is_read = _answer_lines(image, runs, export)
            bad += not is_read
            print("\n".join(lines))
    if not checked:
        runtimes = sorted({one["runtime"] for one in known.values()})
        print(f"Nothing was checked: install one of {', '.join(runtimes)}")
    sys.exit(int(bad > 0 or not checked))


if __name__ == "__main__":
    main()
