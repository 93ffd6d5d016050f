"""How a network's images are prepared, as the files say that come with it: Hugging Face's ``preprocessor_config.json``,
timm's ``config.json``.

Means and standard deviations are those of channels on a scale of 0..1.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tlcli.backbones.catalog import Channels, Interpolation, Resize
from tlcli.errors import ModelError
from tlcli.system.files import read_regular

_MAX_BYTES = 1 << 20
_RESAMPLE: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers; 4 and 5 (box, hamming) are read as the nearest of these, bilinear."""
_TIMM_CROP = 0.875
"""timm's own default (timm/data/constants.py)."""
_NONE: Channels = (0.0, 0.0, 0.0)
_ONES: Channels = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class PublishedPreparation:
    """What a file says, None where it says nothing."""

    file: str = ""
    """Its name; empty where there is none."""
    size: tuple[int, int] | None = None
    """Height and width, pixels."""
    resize: Resize | None = None
    crop_fraction: float | None = None
    interpolation: Interpolation | None = None
    mean: Channels | None = None
    std: Channels | None = None


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Sides(_Read):
    height: int | None = None
    width: int | None = None
    shortest_edge: int | None = None


class _HuggingFace(_Read):
    size: int | _Sides | None = None
    crop_size: int | _Sides | None = None
    crop_pct: float | None = None
    do_center_crop: bool | None = None
    do_normalize: bool = True
    do_rescale: bool = True
    image_mean: Channels | float | None = None
    image_std: Channels | float | None = None
    rescale_factor: float = 1 / 255
    rescale_offset: bool = False
    resample: int | None = None


class _Timm(_Read):
    input_size: tuple[int, int, int] | None = None
    mean: Channels | None = None
    std: Channels | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    crop_mode: Literal["center", "squash", "border"] = "center"


class _TimmFile(_Read):
    pretrained_cfg: _Timm | None = None


def read_preparation(network: Path) -> PublishedPreparation:
    """What the files beside a network, or of a network in ``onnx`` those beside that folder, say.

    Raises:
        ModelError: a file is malformed.
    """
    folders = [network.parent, *([network.parent.parent] if network.parent.name == "onnx" else [])]
    for name, read in (("preprocessor_config.json", _hugging_face), ("config.json", _timm)):
        for folder in folders:
            if (path := folder / name).is_file() and (found := read(path)) is not None:
                return found
    return PublishedPreparation()


def _text(path: Path) -> str:
    try:
        text = read_regular(path, _MAX_BYTES).decode()
        json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise _malformed(path, str(error)) from error
    return text


def _malformed(path: Path, why: str) -> ModelError:
    return ModelError(
        "model.preparation_malformed",
        f"{path}, which says how the network's images are prepared, is malformed: {why}.",
        "Correct or remove it, and set image.size, image.resize, backbone.mean and backbone.std.",
    )


def _invalid(path: Path, error: ValidationError) -> ModelError:
    problem = error.errors()[0]
    return _malformed(path, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}")


def _hugging_face(path: Path) -> PublishedPreparation:
    try:
        found = _HuggingFace.model_validate_json(_text(path))
    except ValidationError as error:
        raise _invalid(path, error) from error
    resized, cropped = found.size, found.crop_size if found.do_center_crop else None
    if isinstance(resized, int):  # the older form: of a crop the shorter side, else both
        resized = _Sides(shortest_edge=resized) if cropped is not None else _Sides(height=resized, width=resized)
    edge = resized.shortest_edge if resized else None
    size, fraction = _square(resized), None
    resize: Resize = "squash"
    if cropped is not None:
        size = (cropped, cropped) if isinstance(cropped, int) else _square(cropped)
        before = edge or (min(resized.height, resized.width) if resized and resized.height and resized.width else None)
        resize = "crop"
        fraction = min(1.0, min(size) / before) if size and before else None
    elif edge is not None:  # ConvNeXt's: resized to edge / crop_pct, of which the centre is cut
        size, resize, fraction = (edge, edge), "crop", found.crop_pct or 1.0
    mean, std = (_channels(one) for one in (found.image_mean, found.image_std))
    if not found.do_normalize:
        mean, std = _NONE, _ONES
    factor = 255 * found.rescale_factor if found.do_rescale else 255.0  # of the scale 0..1
    offset = 1.0 if found.rescale_offset and found.do_rescale else 0.0
    if mean is not None and std is not None and (factor != 1 or offset):
        mean, std = (_each(mean, lambda one: (one + offset) / factor), _each(std, lambda one: one / factor))
    return PublishedPreparation(
        path.name, _checked(path, size), resize if size else None, fraction,
        None if found.resample is None else _RESAMPLE.get(found.resample, "bilinear"), mean, _positive(path, std),
    )  # fmt: skip


def _timm(path: Path) -> PublishedPreparation | None:
    try:
        found = _TimmFile.model_validate_json(_text(path)).pretrained_cfg
    except ValidationError as error:
        raise _invalid(path, error) from error
    if found is None:  # some other config.json
        return None
    resizes: dict[str, Resize] = {"center": "crop", "squash": "squash", "border": "pad"}
    known: dict[str, Interpolation] = {name: name for name in _RESAMPLE.values()}
    interpolation = known.get(found.interpolation, "bilinear") if found.interpolation else None  # random: either
    return PublishedPreparation(
        path.name, _checked(path, found.input_size[1:] if found.input_size else None), resizes[found.crop_mode],
        (found.crop_pct or _TIMM_CROP) if found.crop_mode == "center" else None,
        interpolation, found.mean, _positive(path, found.std),
    )  # fmt: skip


def _square(sides: _Sides | int | None) -> tuple[int, int] | None:
    if isinstance(sides, _Sides) and sides.height is not None and sides.width is not None:
        return sides.height, sides.width
    if isinstance(sides, _Sides) and sides.shortest_edge is not None:
        return sides.shortest_edge, sides.shortest_edge
    return None


def _channels(value: Channels | float | None) -> Channels | None:
    return (value, value, value) if isinstance(value, float) else value


def _each(values: Channels, change: Callable[[float], float]) -> Channels:
    return change(values[0]), change(values[1]), change(values[2])


def _checked(path: Path, size: tuple[int, int] | None) -> tuple[int, int] | None:
    if size and not all(1 <= side <= 4096 for side in size):
        raise _malformed(path, f"a size of {size[0]} x {size[1]} pixels")
    return size


def _positive(path: Path, std: Channels | None) -> Channels | None:
    if std and min(std) <= 0:
        raise _malformed(path, f"a standard deviation of {min(std):g}")
    return std
