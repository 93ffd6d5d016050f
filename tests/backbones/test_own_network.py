"""Networks that users bring: what is read of them, what is refused, and that their features are the network's own."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import pytest
from PIL import Image
from tests.network_fixtures import (
    SIDE,
    convolutional,
    message,
    model,
    node,
    tensor,
    transformer,
    value_info,
    weights,
    write_json,
)

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.catalog import IMAGENET_MEAN, IMAGENET_STD
from tlcli.backbones.own_network import OwnBackbone, Wishes, open_own
from tlcli.backbones.preparation_files import PublishedPreparation, read_preparation
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.engines.interface import open_engine
from tlcli.errors import ModelError
from tlcli.features.key import feature_key
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

WISHES = Wishes(size=(SIDE, SIDE))
MAPS = {"stage1": (16, 16, 4), "stage2": (8, 8, 8), "last": (4, 4, 12)}


def pixels(count: int = 2, side: int = SIDE) -> "list[Pixels]":
    return list(np.random.default_rng(5).integers(0, 256, (count, side, side, 3), np.uint8))


def spec_of(found: OwnBackbone) -> BackboneSpec:
    return BackboneSpec(found.row, found.row.input_size, found.weights, EngineChoice("openvino", "f32", ""))


def key_of(found: OwnBackbone) -> str:
    return feature_key(spec_of(found), Preparation(found.row.input_size, "crop"))


def passed(found: OwnBackbone, image: "Pixels") -> "tuple[NDArray[np.float32], FeatureMaps]":
    """The features of an image, and the maps that they are pooled from."""
    spec = spec_of(found)
    decoder = Decoder(Preparation(spec.size, "squash"))
    with closing(open_engine(spec, decoder)) as engine, closing(engine.maps()) as maps:
        return engine.submit(Item(image)).result()[0], maps.submit(Item(image)).result()[0]


def blocks_of(found: OwnBackbone) -> list[tuple[str, int]]:
    return [(block.name, block.width) for block in found.row.blocks.all]


def computed(path: Path, image: "Pixels", name: str) -> "NDArray[np.float32]":
    """What OpenVINO computes of a tensor inside the network itself, of ImageNet's scaling."""
    graph = openvino.Core().read_model(path)
    value = next(
        value for one in graph.get_ordered_ops() for value in one.outputs()
        if name in value.get_names() and one.get_type_name() != "Result"
    )  # fmt: skip
    graph = openvino.Model([openvino.opset13.result(value)], graph.get_parameters())
    scaled = (image / 255 - IMAGENET_MEAN) / IMAGENET_STD
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled([scaled.transpose(2, 0, 1)[None].astype(np.float32)])[0][0])


def code_of(path: Path, wishes: Wishes = WISHES) -> str:
    with pytest.raises(ModelError) as refused:
        open_own(path, wishes)
    return refused.value.code


def test_stages_of_a_convolutional_network_are_its_sums_behind_their_activation(tmp_path: Path) -> None:
    path = convolutional(tmp_path / "net.onnx")
    found = open_own(path, WISHES)
    assert blocks_of(found) == [
        ("stage1.avg", 4), ("stage1.max", 4), ("stage2.avg", 8), ("stage2.max", 8), ("last.avg", 12), ("last.max", 12)
    ]  # fmt: skip
    assert (found.row.own.output if found.row.own else None, found.row.size, found.row.name) == ("map", SIDE, "net")
    for image in pixels():
        row, _ = passed(found, image)
        maps = [computed(path, image, name) for name in ("stage", "c2", "map")]  # "sum" is what stands before "stage"
        expected = np.concatenate([pool(one, axis=(1, 2)) for one in maps for pool in (np.mean, np.max)])
        np.testing.assert_allclose(row, expected, rtol=2e-3, atol=2e-3)


def test_tokens_are_a_class_token_and_the_mean_of_those_of_the_image(tmp_path: Path) -> None:
    path = transformer(tmp_path / "vit.xml", prefix=3)
    found = open_own(path, Wishes())
    assert blocks_of(found) == [("last.cls", 16), ("last.mean_tokens", 16)]
    row, _ = passed(found, pixels(1)[0])
    tokens = computed(path, pixels(1)[0], "last_hidden_state")
    np.testing.assert_allclose(row, np.concatenate([tokens[0], tokens[3:].mean(axis=0)]), rtol=1e-4, atol=1e-5)
    assert blocks_of(open_own(transformer(tmp_path / "siglip.xml", prefix=0), Wishes())) == [("last.mean_tokens", 16)]


@pytest.mark.parametrize("kind", ["conv", "channels last", "tokens", "vector"])
def test_maps_are_exactly_what_is_pooled(tmp_path: Path, kind: str) -> None:
    path = {
        "conv": lambda: convolutional(tmp_path / "a.onnx"),
        "channels last": lambda: convolutional(tmp_path / "a.onnx", channels_last=True),
        "tokens": lambda: transformer(tmp_path / "a.xml", prefix=2),
        "vector": lambda: convolutional(tmp_path / "a.onnx", pooled=True),
    }[kind]()
    found = open_own(path, WISHES)
    row, maps = passed(found, pixels(1)[0])
    np.testing.assert_allclose(maps.features(), row, rtol=2e-3, atol=2e-3)
    shapes = {name: one.shape for name, one in maps.tiles[0].items()}
    assert (
        shapes
        == {
            **dict.fromkeys(("conv", "channels last"), MAPS),
            "tokens": {"last.cls": (1, 1, 16), "last": (4, 4, 16)},
            "vector": {"last": (1, 1, 12)},
        }[kind]
    )


def test_pooled_features_have_no_layers_and_the_note_names_the_map_before_them(tmp_path: Path) -> None:
    path = convolutional(tmp_path / "a.onnx", pooled=True)
    found = open_own(path, WISHES)
    assert (blocks_of(found), found.row.has_positions) == ([("last.avg", 12)], False)
    assert "map [1, 12, 4, 4]" in found.note
    inside = open_own(path, Wishes(output="map", size=(SIDE, SIDE)))
    assert inside.row.blocks.layers == ("stage1", "stage2", "last")


def test_the_digest_is_that_of_the_content_alone(tmp_path: Path) -> None:
    first = open_own(convolutional(tmp_path / "a" / "net.onnx", location="net.onnx_data"), WISHES)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "net.onnx").rename(tmp_path / "b" / "model.onnx")
    same = open_own(tmp_path / "b", WISHES)
    assert same.row.name == "b"
    assert key_of(same) == key_of(first)
    data = tmp_path / "b" / "net.onnx_data"
    data.write_bytes(bytes(4) + data.read_bytes()[4:])
    assert open_own(tmp_path / "b", WISHES).weights.sha256 != first.weights.sha256
    other = open_own(tmp_path / "a", Wishes(output="c2", size=(SIDE, SIDE)))
    assert key_of(other) != key_of(first)
    vit = open_own(transformer(tmp_path / "p.xml"), Wishes())
    shutil.copy(tmp_path / "p.xml", tmp_path / "q.xml")
    shutil.copy(tmp_path / "p.bin", tmp_path / "q.bin")
    assert open_own(tmp_path / "q.xml", Wishes()).weights.sha256 == vit.weights.sha256
    (tmp_path / "q.bin").write_bytes(bytes(4) + (tmp_path / "q.bin").read_bytes()[4:])
    assert open_own(tmp_path / "q.xml", Wishes()).weights.sha256 != vit.weights.sha256


def external(folder: Path, location: str) -> Path:
    return convolutional(folder / "a.onnx", location=location)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "sub/../../w.bin", "..\\w.bin", "link.bin"])
def test_data_outside_the_folder_is_refused_unread(tmp_path: Path, location: str) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "w.bin"
    folder.mkdir()
    outside.write_bytes(bytes(432))
    (folder / "link.bin").symlink_to(outside)
    path = convolutional(folder / "a.onnx")
    data = tensor("z", np.zeros(1, np.float32), location)
    path.write_bytes(path.read_bytes() + message((7, message((5, data)))))  # protobuf merges both graphs
    assert code_of(folder) == "model.external_data_outside"


def test_the_bin_of_an_ir_may_not_lead_outside_either(tmp_path: Path) -> None:
    path = transformer(tmp_path / "a" / "vit.xml")
    path.with_suffix(".bin").rename(tmp_path / "vit.bin")
    assert code_of(path) == "model.external_data_missing"
    path.with_suffix(".bin").symlink_to(tmp_path / "vit.bin")
    assert code_of(path) == "model.external_data_outside"


def test_missing_data_and_networks_are_named(tmp_path: Path) -> None:
    external(tmp_path, "w.bin")
    (tmp_path / "w.bin").unlink()
    assert code_of(tmp_path) == "model.external_data_missing"
    assert code_of(tmp_path / "no.onnx") == "model.network_not_found"
    (tmp_path / "empty").mkdir()
    assert code_of(tmp_path / "empty") == "model.network_not_found"
    (tmp_path / "a.pt").write_bytes(b"PK")
    assert code_of(tmp_path / "a.pt") == "model.network_format"
    (tmp_path / "a.onnx").write_bytes(b"<html>")
    assert code_of(tmp_path) == "model.network_unreadable"
    (tmp_path / "b.onnx").write_bytes(b"")
    assert code_of(tmp_path) == "model.network_ambiguous"


@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx", "other.onnx", "onnx/model_fp32.onnx"])
def test_a_folder_is_searched_as_hugging_face_and_timm_write_it(tmp_path: Path, name: str) -> None:
    path = convolutional(tmp_path / "dinov2" / name, side=SIDE)
    write_json(tmp_path / "dinov2" / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    found = open_own(tmp_path / "dinov2", Wishes())
    assert found.weights.path == path
    assert found.row.name == ("dinov2" if path.stem == "model" else path.stem)
    assert found.row.own is not None
    assert (found.row.own.mean, found.row.own.std) == ((0.5,) * 3, (0.25,) * 3)


def test_a_file_of_garbage_ends_as_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(message((7, message((1, message((1, "x"), (2, "y"), (4, "Relu")))))))
    assert code_of(tmp_path) in ("model.network_unsupported", "model.network_output")
    (tmp_path / "a.onnx").unlink()
    (tmp_path / "b.xml").write_text("<net><layers/>")
    (tmp_path / "b.bin").write_bytes(b"")
    assert code_of(tmp_path) == "model.network_unsupported"


def one_node(path: Path, made: bytes, shape: list[int | str], out: list[int | str]) -> Path:
    path.write_bytes(model([made], [], [value_info("x", shape)], [value_info("y", out)]))
    return path


def test_operators_that_openvino_lacks_are_named(tmp_path: Path) -> None:
    path = one_node(tmp_path / "a.onnx", node("Fancy", ["x"], "y", "com.example"), [1, 3, 8, 8], [1, 3, 8, 8])
    with pytest.raises(ModelError) as refused:
        open_own(path, WISHES)
    assert refused.value.code == "model.network_unsupported"
    assert "Fancy" in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("shape", "wishes", "code"),
    [
        ([1, 1, SIDE, SIDE], Wishes(), "model.network_unsupported"),
        ([1, 3, 16], Wishes(), "model.network_unsupported"),
        (["n", 3, "h", "w"], Wishes(), "model.network_size"),
        ([1, 3, SIDE, 2 * SIDE], Wishes(), "model.network_size"),
        ([1, 3, SIDE, SIDE], Wishes(output="nothing"), "model.network_output"),
    ],
)
def test_what_is_no_network_of_images_is_refused(
    tmp_path: Path, shape: list[int | str], wishes: Wishes, code: str
) -> None:
    assert code_of(one_node(tmp_path / "a.onnx", node("Relu", ["x"], "y"), shape, shape), wishes) == code


def test_a_fixed_size_is_the_default_and_another_one_is_refused(tmp_path: Path) -> None:
    path = transformer(tmp_path / "vit.xml")
    assert open_own(path, Wishes()).row.size == SIDE
    with pytest.raises(ModelError) as refused:
        open_own(path, Wishes(size=(2 * SIDE, 2 * SIDE)))
    assert refused.value.code == "model.network_size"
    assert f"{SIDE} x {SIDE}" in refused.value.message
    free = convolutional(tmp_path / "conv.onnx", side=SIDE)
    assert open_own(free, Wishes(size=(2 * SIDE, 2 * SIDE))).row.size == 2 * SIDE  # a convolution does not mind


def test_tokens_that_are_no_grid_are_refused(tmp_path: Path) -> None:
    path = transformer(tmp_path / "vit.xml", prefix=17, side=128)
    assert code_of(path, Wishes()) == "model.network_output"


def hugging_face(folder: Path, **content: object) -> PublishedPreparation:
    write_json(folder / "preprocessor_config.json", content)
    return read_preparation(folder / "model.onnx")


def test_hugging_face_files_are_read(tmp_path: Path) -> None:
    found = hugging_face(  # facebook/dinov2-small
        tmp_path, crop_size={"height": 224, "width": 224}, do_center_crop=True, do_convert_rgb=True, do_normalize=True,
        do_rescale=True, do_resize=True, image_mean=[0.485, 0.456, 0.406], image_processor_type="BitImageProcessor",
        image_std=[0.229, 0.224, 0.225], resample=3, rescale_factor=0.00392156862745098, size={"shortest_edge": 256},
    )  # fmt: skip
    assert (found.size, found.resize, found.crop_fraction, found.interpolation) == (
        (224, 224), "crop", 0.875, "bicubic"
    )  # fmt: skip
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)
    found = hugging_face(  # google/siglip-base-patch16-224
        tmp_path, do_normalize=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        resample=3, rescale_factor=0.00392156862745098, size={"height": 224, "width": 224},
    )  # fmt: skip
    assert (found.size, found.resize, found.crop_fraction) == ((224, 224), "squash", None)
    found = hugging_face(
        tmp_path, crop_pct=0.875, size={"shortest_edge": 224}, resample=2
    )  # facebook/convnext-tiny-224
    assert (found.size, found.resize, found.crop_fraction, found.interpolation) == (
        (224, 224), "crop", 0.875, "bilinear"
    )  # fmt: skip
    found = hugging_face(tmp_path, size=224, resample=3, crop_size=224, do_center_crop=True)  # older CLIP
    assert (found.size, found.resize, found.crop_fraction) == ((224, 224), "crop", 1.0)
    found = hugging_face(tmp_path, size=224, image_mean=[0.5] * 3, image_std=[0.5] * 3)  # older ViT
    assert (found.size, found.resize) == ((224, 224), "squash")


def test_rescaling_by_other_factors_is_the_same_on_the_scale_of_0_to_1(tmp_path: Path) -> None:
    found = hugging_face(tmp_path, rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[1.0] * 3)
    assert found.mean == pytest.approx((0.5,) * 3)
    assert found.std == pytest.approx((0.5,) * 3)
    found = hugging_face(tmp_path, do_normalize=False)
    assert (found.mean, found.std) == ((0, 0, 0), (1, 1, 1))
    found = hugging_face(tmp_path, do_rescale=False, image_mean=[127.5] * 3, image_std=[127.5] * 3)
    assert found.mean == pytest.approx((0.5,) * 3)


def test_timm_files_are_read_and_other_configs_are_not(tmp_path: Path) -> None:
    cfg: dict[str, Any] = {
        "input_size": [3, 288, 288], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
        "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 1000, "pool_size": [9, 9], "first_conv": "conv1",
    }  # fmt: skip
    write_json(tmp_path / "config.json", {"architecture": "resnet50", "num_classes": 1000, "pretrained_cfg": cfg})
    found = read_preparation(tmp_path / "onnx" / "model.onnx")
    assert found == PublishedPreparation(
        "config.json", (288, 288), "crop", 0.95, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    )
    write_json(tmp_path / "config.json", {"pretrained_cfg": {**cfg, "crop_mode": "squash"}})
    assert (read_preparation(tmp_path / "a.onnx").resize, read_preparation(tmp_path / "a.onnx").crop_fraction) == (
        "squash", None
    )  # fmt: skip
    write_json(tmp_path / "config.json", {"model_type": "dinov2", "image_size": 518})
    assert read_preparation(tmp_path / "a.onnx") == PublishedPreparation()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"size": "large"}', '{"size": 0}', '{"size": 99999}', '{"image_std": [0, 1, 1]}', "[" * 99999, "\0"],
)
def test_malformed_files_are_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ModelError) as refused:
        read_preparation(tmp_path / "model.onnx")
    assert refused.value.code == "model.preparation_malformed"


def test_blocks_that_stand_for_an_image_are_those_of_the_class_token(tmp_path: Path) -> None:
    blocks: Blocks = open_own(transformer(tmp_path / "a.xml"), Wishes()).row.blocks
    assert blocks.last.names == ("last.cls",)


def test_a_real_network_has_its_stages_and_features(opennsfw: Path) -> None:
    """ResNet-50 thin (Yahoo's open_nsfw, MIT), as tf2onnx wrote it: channels last outside, first inside."""
    found = open_own(opennsfw, Wishes(output="pool/AvgPool__437:0"))
    assert (found.row.size, found.row.features, found.row.has_positions) == (224, 1024, False)
    inside = found.note.partition("the last map, ")[2].partition(" [")[0]
    maps = open_own(opennsfw, Wishes(output=inside))
    assert [(layer, maps.row.blocks.select([layer], ["avg"]).width) for layer in maps.row.blocks.layers] == [
        ("stage1", 64), ("stage2", 128), ("stage3", 256), ("stage4", 512), ("last", 1024)
    ]  # fmt: skip
    image = np.asarray(Image.new("RGB", (224, 224), (200, 120, 90)))
    (pooled, _), (rows, _) = passed(found, image), passed(maps, image)
    np.testing.assert_allclose(pooled, maps.row.blocks.take(rows, maps.row.blocks.last), rtol=1e-3, atol=1e-4)


def test_a_detector_s_boxes_are_no_tokens(tmp_path: Path) -> None:
    """[1, 20, 1029]: 20 numbers of each of 1,029 boxes, as YOLO has them for 224 pixels."""
    boxes = tensor("boxes", np.ones((1, 20, 1029), np.float32))
    nodes = [node("GlobalAveragePool", ["x"], "a"), node("Conv", ["a", "k"], "b"), node("Flatten", ["b"], "c"),
             node("Mul", ["c", "boxes"], "y")]  # fmt: skip
    kernel = tensor("k", np.ones((1, 3, 1, 1), np.float32))
    data = model(nodes, [boxes, kernel], [value_info("x", [1, 3, 224, 224])], [value_info("y", [1, 20, 1029])])
    (tmp_path / "a.onnx").write_bytes(data)
    assert code_of(tmp_path, Wishes()) == "model.network_output"


def of_text_and_image(path: Path) -> Path:
    """As CLIP is exported: outputs of the text, of both, and of the image, in float16."""
    from openvino import opset13 as ops

    image, text = ops.parameter([-1, 3, -1, -1], np.float32, "pixel_values"), ops.parameter([1, 7], np.int64, "ids")
    found = ops.convolution(image, ops.constant(weights(0, 8, 3, 3, 3)), [2, 2], [1, 1], [1, 1], [1, 1])
    mean = ops.reduce_mean(ops.convert(text, np.float32), np.array([1]), keep_dims=True)
    both = ops.add(found, ops.reshape(mean, np.array([1, 1, 1, 1]), special_zero=False))
    results = [ops.result(one) for one in (mean, both, found)]
    for result, name in zip(results, ("text", "both", "image"), strict=True):
        result.output(0).get_tensor().set_names({name})
    openvino.save_model(openvino.Model(results, [image, text]), path, compress_to_fp16=True)
    return path


def test_of_a_network_of_text_and_images_the_part_of_images_is_taken(tmp_path: Path) -> None:
    path = of_text_and_image(tmp_path / "clip.xml")
    found = open_own(path, WISHES)
    assert found.row.own is not None
    assert found.row.own.output == "image"
    row, _ = passed(found, pixels(1)[0])
    assert row.shape == (16,)
    assert np.isfinite(row).all()
    for name in ("both", "text"):
        assert code_of(path, Wishes(output=name, size=(SIDE, SIDE))) == "model.network_output"
