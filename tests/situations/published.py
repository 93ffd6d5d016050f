"""Layouts and tables of published data sets: small imitations, named as the sets name them."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.situations.situation import Read, Section, Situation, files, put

_TWO = {"cat": 6, "dog": 6}
_TRAINED = {"train": 8, "validation": 2, "test": 2}
_UNCLEAR = "data.class_folders_unclear"
_BOTH = ("cat/{}.jpg", "dog/{}.jpg")


def _set(*names: str, texts: Mapping[str, str | bytes] = {}, **section: Any) -> Callable[[Path], Section]:
    """Images at these names and files with these contents, for this dataset section."""

    def make(folder: Path) -> Section:
        put(folder, *names)
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return section

    return make


def _copied(tree: str, to: str, *names: str) -> Callable[[Path], Section]:
    """Images at these names, and a copy of the folder ``tree``."""

    def make(folder: Path) -> Section:
        put(folder, *names)
        shutil.copytree(folder / tree, folder / "copy")
        (folder / to).parent.mkdir(parents=True, exist_ok=True)
        (folder / "copy").rename(folder / to)
        return {}

    return make


def _in(*folders: str) -> list[str]:
    return [f"{folder}/{name}" for folder in folders for name in _BOTH]


def _rows(header: str, *templates: str) -> str:
    return "\n".join([*header.splitlines(), *(one.format(n=n) for one in templates for n in range(6))]) + "\n"


def _labels(file: str, path: str, label: str, **labels: Any) -> dict[str, Any]:
    return {"file": file, "path": path, "label": label, **labels}


_PETS = _rows("#Image CLASS-ID SPECIES\n#SPECIES: 1:Cat 2:Dog", "Abyssinian_{n} 1 1", "beagle_{n} 5 2")
_PET_FILES = [f"{folder}_{{}}.{suffix}" for folder, suffix in [
    ("images/Abyssinian", "jpg"), ("images/beagle", "jpg"), ("annotations/trimaps/Abyssinian", "png"),
    ("annotations/trimaps/beagle", "png"),
]]  # fmt: skip
_PET_COLUMNS = ["file", "id", "species"]
_HAM = _rows("lesion_id,image_id,dx", "H{n},ISIC_2{n},bkl", "H9{n},ISIC_3{n},nv")
_PARTS = ("HAM10000_images_part_1/ISIC_2{}.jpg", "HAM10000_images_part_2/ISIC_3{}.jpg")
_ISIC = _rows("image,MEL,NV,UNK", "a{n},1.0,0.0,0.0", "b{n},0.0,1.0,0.0")
_ISIC_FILES = ("Training_Input/a{}.jpg", "Training_Input/b{}.jpg")
_PATIENTS = [f"{patient}/{label}/x{{}}.png" for patient in ("10253", "10254") for label in "01"]
_VALID = "path,noisy_labels_0,is_valid\n" + "".join(f"c{n}.jpg,cat,{n > 3}\nd{n}.jpg,dog,{n > 3}\n" for n in range(6))
_FER = _rows("emotion,pixels,Usage", "{n}," + " ".join(["70"] * 2304) + ",Training")

PUBLISHED = [
    Situation("Oxford-IIIT Pet: `images/Abyssinian_1.jpg`, `annotations/trimaps/`", _set(*_PET_FILES), "data.too_few_classes", "the hint has a pattern; the trimaps are no class"),
    Situation("the same with the pattern of the hint", _set(*_PET_FILES, labels={"pattern": "(?:^|/)images/.*?(?P<label>Abyssinian|beagle)[ ._-]*\\d"}), Read({"Abyssinian": 6, "beagle": 6}, left_out=12)),
    Situation(
        "the same with `annotations/list.txt`, which begins with comments and is separated by spaces",
        _set(*_PET_FILES, texts={"annotations/list.txt": _PETS}, labels=_labels("annotations/list.txt", "file", "species", columns=_PET_COLUMNS)),
        Read({"1": 6, "2": 6}, left_out=12), "images are matched, not trimaps",
    ),
    Situation("Oxford Flowers: `jpg/` and `imagelabels.mat` as the table", _set("jpg/{}.jpg", texts={"imagelabels.mat": b"MATLAB 5.0 MAT-file\xff"}, labels=_labels("imagelabels.mat", "a", "b")), "data.label_table_unsupported"),
    Situation("Stanford Dogs: `Images/`, and `Annotation/` with files without a suffix", _set(*_in("Images"), texts=dict.fromkeys(["Annotation/cat/0", "Annotation/dog/0"], "<annotation>")), Read(_TWO, left_out=2)),
    Situation("CUB-200: `images/`, `attributes/`, `parts/`, tables", _set(*_in("CUB/images"), texts=dict.fromkeys(["CUB/images.txt", "CUB/parts/parts.txt", "CUB/attributes/a.txt"], "1 x")), Read(_TWO, left_out=3)),
    Situation("CUB-200 with its `segmentations/`", _set(*_in("CUB/images", "segmentations")), Read(_TWO, left_out=12)),
    Situation("Caltech-101: `101_ObjectCategories/`, `Annotations/` of MATLAB files", _set(*_in("101_ObjectCategories"), texts={"Annotations/cat/0.mat": b"MATLAB"}), Read(_TWO, left_out=1)),
    Situation("Food-101: `images/`, `meta/train.txt`", _set(*_in("images"), texts={"meta/train.txt": "cat/0\n"}), Read(_TWO, left_out=1)),
    Situation("DTD: `images/`, `labels/`, `imdb/imdb.mat`", _set(*_in("dtd/images"), texts={"dtd/labels/train1.txt": "cat/0.jpg", "dtd/imdb/imdb.mat": b"MATLAB"}), Read(_TWO, left_out=2)),
    Situation("Tiny ImageNet: `train/cat/images/`, unlabelled `val/images/`, `test/images/`", _set("t/train/cat/images/{}.JPEG", "t/train/dog/images/{}.JPEG", "t/val/images/{}.JPEG", "t/test/images/{}.JPEG"), Read(_TWO, _TRAINED, left_out=12)),
    Situation("ASL alphabet: `asl_alphabet_test/asl_alphabet_test/A_test.jpg`", _set(*_in("asl_alphabet_train/asl_alphabet_train"), "asl_alphabet_test/asl_alphabet_test/{}.jpg"), Read(_TWO, _TRAINED, left_out=6)),
    Situation("GTSRB: `Final_Training/Images/00000/`, `Final_Test/Images/1.ppm`", _set("GTSRB/Final_Training/Images/00000/{}.ppm", "GTSRB/Final_Training/Images/00001/{}.ppm", "GTSRB/Final_Test/Images/{}.ppm"), Read({"00000": 6, "00001": 6}, _TRAINED, left_out=6)),
    Situation("NEU-DET: `train/images/cat/`, `train/annotations/`", _set(*_in("N/train/images", "N/validation/images"), texts={"N/train/annotations/0.xml": "x", "N/validation/annotations/0.xml": "x"}), Read({"cat": 12, "dog": 12}, {"train": 12, "validation": 10, "test": 2}, left_out=2)),
    Situation("COCO: `train2017/`, `val2017/`, `annotations/instances_train2017.json`", _set("train2017/{}.jpg", "val2017/{}.jpg", texts={"annotations/instances_train2017.json": "{}"}), "data.split_folders_without_classes"),
    Situation("its JSON as the table", _set("train2017/{}.jpg", texts={"a.json": '{"images": []}'}, labels=_labels("a.json", "file_name", "id")), "data.label_table_unsupported"),
    Situation("YOLO: `images/train/`, `labels/train/`", _set("images/train/{}.jpg", "images/val/{}.jpg", texts={"labels/train/0.txt": "0 .5 .5 .1 .1"}), "data.split_folders_without_classes"),
    Situation("Pascal VOC: `JPEGImages/`, `SegmentationClass/`, `Annotations/`", _set("V/JPEGImages/{}.jpg", "V/SegmentationClass/{}.png", texts={"V/Annotations/0.xml": "x", "V/ImageSets/Main/cat.txt": "0 1"}), "data.too_few_classes", "the segmentations are no class"),
    Situation("Chest CT: `train/cat_left/`, and `test/cat/` for the same class", files("Data/train/cat_left/{}.png", "Data/train/dog/{}.png", "Data/test/cat/{}.png", "Data/test/dog/{}.png"), "data.class_not_in_training"),
    Situation("the same with a pattern of the hint", files("Data/train/cat_left/{}.png", "Data/train/dog/{}.png", "Data/test/cat/{}.png", "Data/test/dog/{}.png", labels={"pattern": "(?P<split>train|test)/(?P<label>cat|dog)"}), Read({"cat": 12, "dog": 12}, {"train": 10, "validation": 2, "test": 12})),
    Situation("forest fire: `Training and Validation/`, `Testing/`", files(*_in("Training and Validation", "Testing")), Read({"cat": 12, "dog": 12}, {"train": 10, "validation": 2, "test": 12})),
    Situation("`horse-or-human/`, `validation-horse-or-human/` with class folders", files(*_in("horse-or-human", "validation-horse-or-human")), _UNCLEAR, "the hint has `split_folders`"),
    Situation("the same with `split_folders`", files(*_in("horse-or-human", "validation-horse-or-human"), split_folders={"train": "horse-or-human", "validation": "validation-horse-or-human"}), Read({"cat": 12, "dog": 12}, {"train": 12, "validation": 10, "test": 2})),
    Situation("COVID radiography: `COVID/images/`, `COVID/masks/`", files(*(f"{label}/{kind}/{label}-{{}}.png" for label in ("cat", "dog") for kind in ("images", "masks"))), Read(_TWO, left_out=12)),
    Situation("Breast ultrasound: `benign (1).png`, `benign (1)_mask.png`, `benign (1)_mask_1.png`", files("cat/c ({}).png", "cat/c ({})_mask.png", "dog/d ({}).png", "dog/d ({})_mask_1.png"), Read(_TWO, left_out=12)),
    Situation("`mask/` and `no_mask/` with the folders of people", files("mask/ann/{}.jpg", "mask/bo/{}.jpg", "no_mask/cy/{}.jpg", "no_mask/di/{}.jpg"), Read({"mask": 12, "no_mask": 12})),
    Situation("a class of the name `masks`", files("gloves/{}.jpg", "masks/{}.jpg"), Read({"gloves": 6, "masks": 6})),
    Situation("PlantVillage: `color/`, `grayscale/`, `segmented/`, each with all classes", files(*_in("raw/color", "raw/grayscale", "raw/segmented")), _UNCLEAR),
    Situation("Office-31: `amazon/images/cat/`, `webcam/images/cat/`", files(*_in("amazon/images", "webcam/images")), _UNCLEAR),
    Situation("breast histopathology: patients with `0/` and `1/` inside", files(*_PATIENTS), _UNCLEAR),
    Situation("the same with the pattern of the hint", files(*_PATIENTS, labels={"pattern": "^(?P<group>[^/]+)/(?P<label>0|1)/"}, split={"validation": 0.5, "test": 0}), Read({"0": 12, "1": 12})),
    Situation("the same where a patient lacks a class", files(*_PATIENTS, "10255/0/x{}.png"), _UNCLEAR),
    Situation("classes with the folders of patients `1/`, `2/` inside", files("cat/1/{}.jpg", "cat/2/{}.jpg", "dog/1/{}.jpg", "dog/2/{}.jpg"), Read({"cat": 12, "dog": 12}), "which is said, with a pattern for the other reading"),
    Situation("BreaKHis: `benign/SOB/adenosis/`, `malignant/SOB/ductal_carcinoma/`", files("b/benign/SOB/adenosis/{}.png", "b/benign/SOB/fibroadenoma/{}.png", "b/malignant/SOB/ductal/{}.png", "b/malignant/SOB/lobular/{}.png"), Read({"benign": 12, "malignant": 12}), "which is said, with a pattern for the other reading"),
    Situation("`flowers/cat/`, and the same once more in `flowers/flowers/`", _copied("flowers", "flowers/flowers", *_in("flowers")), Read(_TWO, left_out=12)),
    Situation("`yes/`, `no/`, and other images in `brain_tumor_dataset/yes/`, `no/`", files(*_in(".", "brain_tumor_dataset")), "data.several_datasets"),
    Situation("HAM10000: `HAM10000_images_part_1/`, `..._part_2/`", _set(*_PARTS, texts={"HAM10000_metadata.csv": _HAM}), _UNCLEAR, "the hint names the table"),
    Situation("the same with its table", _set(*_PARTS, texts={"m.csv": _HAM}, labels=_labels("m.csv", "image_id", "dx", group="lesion_id")), Read({"bkl": 6, "nv": 6})),
    Situation(
        "the same where both parts are there twice",
        lambda folder: {**_copied(_PARTS[0].split("/")[0], "ham_part_1", *_PARTS)(folder), **_set(texts={"m.csv": _HAM}, labels=_labels("m.csv", "image_id", "dx"))(folder)},
        Read({"bkl": 6, "nv": 6}, left_out=6), "one of each copy is used, which is said",
    ),
    Situation("NIH ChestX-ray: `images_001/images/`, `images_002/images/`", files("images_001/images/a{}.png", "images_002/images/b{}.png"), _UNCLEAR),
    Situation("`Class 1/`, `Class 2/` of Teachable Machine", files("Class 1/{}.jpg", "Class 2/{}.jpg"), Read({"Class 1": 6, "Class 2": 6})),
    Situation("ISIC 2019: one-hot with a column `UNK` without images, `label: MEL`", _set(*_ISIC_FILES, texts={"t.csv": _ISIC}, labels=_labels("t.csv", "image", "MEL")), "data.one_hot_label", "the hint leaves the empty column out"),
    Situation("the same with the columns of the hint", _set(*_ISIC_FILES, texts={"t.csv": _ISIC}, labels={"file": "t.csv", "path": "image", "class_columns": ["MEL", "NV"]}), Read({"MEL": 6, "NV": 6})),
    Situation("Roboflow: `train/_classes.csv` with a space before each column", _set("train/c{}.jpg", "train/d{}.jpg", "valid/c{}.jpg", texts={"train/_classes.csv": _rows("filename, cat, dog", "c{n}.jpg, 1, 0", "d{n}.jpg, 0, 1")}, labels={"file": "train/_classes.csv", "path": "filename", "class_columns": ["cat", "dog"]}), Read(_TWO, left_out=6), "images of the other folders are counted"),
    Situation("imagenette: a column `is_valid` of True and False as the split", _set("c{}.jpg", "d{}.jpg", texts={"n.csv": _VALID}, labels=_labels("n.csv", "path", "noisy_labels_0", split="is_valid")), Read(_TWO, _TRAINED)),
    Situation("Label Studio: addresses (`https://host/images/c0.jpg?x=1`)", _set("images/c{}.jpg", "images/d{}.jpg", texts={"p.csv": _rows("image,choice", "https://h/images/c{n}.jpg?x=1,cat", "https://h/images/d{n}.jpg?x=1,dog")}, labels=_labels("p.csv", "image", "choice")), Read(_TWO)),
    Situation("Vertex: `TRAIN,gs://bucket/c0.jpg,cat` without a header", _set("c{}.jpg", "d{}.jpg", texts={"i.csv": _rows("", "TRAIN,gs://b/c{n}.jpg,cat", "TRAIN,gs://b/d{n}.jpg,dog")}, labels=_labels("i.csv", "path", "label", split="split", columns=["split", "path", "label"])), Read(_TWO, _TRAINED)),
    Situation("Hugging Face: `metadata.jsonl` as the table", _set("c{}.jpg", texts={"metadata.jsonl": '{"file_name": "c0.jpg"}\n{"file_name": "c1.jpg"}\n'}, labels=_labels("metadata.jsonl", "file_name", "label")), "data.label_table_unsupported"),
    Situation("Hugging Face: Parquet files only", _set(texts={"data/train-00000-of-00001.parquet": b"PAR1"}), "data.too_few_classes", "the message says that there are no image files"),
    Situation("CIFAR-10: pickles only", _set(texts={"cifar-10-batches-py/data_batch_1": b"\x80\x02}q\x01"}), "data.too_few_classes", "likewise"),
    Situation("FER2013: pixels in a column of the table", _set(texts={"fer2013.csv": _FER}, labels=_labels("fer2013.csv", "pixels", "emotion")), "data.label_table_pixels"),
    Situation("ChestX-ray14: `Hernia|Mass` in the label column", _set("a{}.png", "b{}.png", "c{}.png", texts={"t.csv": _rows("image,labels", "a{n}.png,Hernia", "b{n}.png,Mass", "c{n}.png,Hernia|Mass")}, labels=_labels("t.csv", "image", "labels")), Read({"Hernia": 6, "Mass": 6, "Hernia|Mass": 6}), "a note says that images seem to have several classes"),
    Situation("the same with `classes: [Hernia, Mass]`", _set("a{}.png", "b{}.png", "c{}.png", texts={"t.csv": _rows("image,labels", "a{n}.png,Hernia", "b{n}.png,Mass", "c{n}.png,Hernia|Mass")}, labels=_labels("t.csv", "image", "labels"), classes=["Hernia", "Mass"]), Read({"Hernia": 6, "Mass": 6}, left_out=12)),
    Situation("CelebA: a line with the number of images above the header", _set("a{}.jpg", texts={"l.txt": "6\nfile Male\n" + "a0.jpg 1\n"}, labels=_labels("l.txt", "file", "Male")), "data.label_table_column_missing"),
    Situation("Cassava: `train_images/`, `test_images/`, `train_tfrecords/`, `train.csv`", _set("train_images/{}.jpg", "test_images/t{}.jpg", texts={"train_tfrecords/a.tfrec": "x", "train.csv": "x"}), "data.split_folders_without_classes", "the hint names the table"),
    Situation("LFW: people with one image each, `min_images_per_class: 4`", files(*_BOTH, *(f"person {n}/0.jpg" for n in range(8)), min_images_per_class=4), Read(_TWO, left_out=8)),
]  # fmt: skip
