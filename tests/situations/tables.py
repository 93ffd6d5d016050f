"""Label tables, as people have them."""

from tests.situations.situation import Read, Situation, rows, table

_TWO = {"cat": 6, "dog": 6}
_IMAGES = ("cat{}.jpg", "dog{}.jpg")
_FOLDER = ("images/cat{}.jpg", "images/dog{}.jpg")
_PLAIN = rows("{label}{n}.jpg,{label}")
_ONE_HOT = "file,healthy,rust,scab\n" + "".join(f"cat{n}.jpg,{n % 3 == 0:d},{n % 3 == 1:d},{n % 3 == 2:d}\n" for n in range(6)) + "".join(
    f"dog{n}.jpg,{n % 3 == 0:d},{n % 3 == 1:d},{n % 3 == 2:d}\n" for n in range(6)
)  # fmt: skip
_CLASSES = {"healthy": 4, "rust": 4, "scab": 4}
_COLUMNS = ["healthy", "rust", "scab"]

TABLES = [
    Situation("`labels.csv` beside the images", table(_PLAIN, *_IMAGES), Read(_TWO)),
    Situation("names without a suffix (`cat0`)", table(rows("{label}{n},{label}"), *_IMAGES), Read(_TWO)),
    Situation("an image folder beside the table, `labels.folder: images`", table(_PLAIN, *_FOLDER, folder="images"), Read(_TWO)),
    Situation("the same without `labels.folder` (matched by name, which is said)", table(_PLAIN, *_FOLDER), Read(_TWO)),
    Situation("names without a suffix, an image folder beside the table", table(rows("{label}{n},{label}"), *_FOLDER), Read(_TWO)),
    Situation("absolute paths of another machine (`/home/ann/images/cat0.jpg`)", table(rows("/home/ann/images/{label}{n}.jpg,{label}"), *_FOLDER), Read(_TWO)),
    Situation(r"paths of Windows (`C:\data\images\cat0.jpg`)", table(rows("C:\\data\\images\\{label}{n}.jpg,{label}"), *_FOLDER), Read(_TWO)),
    Situation("a path that two images end with", table(_PLAIN, "a/cat{}.jpg", "b/cat{}.jpg", "a/dog{}.jpg"), "data.ambiguous_image"),
    Situation("`CAT0.JPG` in the table, `cat0.jpg` on the disk", table(_PLAIN.replace("cat0.jpg", "CAT0.JPG"), *_IMAGES), Read(_TWO)),
    Situation("names composed in the table, decomposed on the disk (macOS)", table(_PLAIN.replace("cat", "caf\u00e9"), "cafe\u0301{}.jpg", "dog{}.jpg"), Read({"caf\u00e9": 6, "dog": 6})),
    Situation("labels composed in some rows, decomposed in others", table(_PLAIN.replace("0.jpg,cat", "0.jpg,caf\u00e9").replace(",cat", ",cafe\u0301"), *_IMAGES), Read({"caf\u00e9": 6, "dog": 6})),
    Situation("semicolons between the columns", table(_PLAIN.replace(",", ";"), *_IMAGES), Read(_TWO)),
    Situation("tabs between the columns", table(_PLAIN.replace(",", "\t"), *_IMAGES), Read(_TWO)),
    Situation("a byte order mark", table("\ufeff" + _PLAIN, *_IMAGES), Read(_TWO)),
    Situation("UTF-16, as spreadsheets export it", table(_PLAIN, *_IMAGES, file_encoding="utf-16"), Read(_TWO)),
    Situation("a table that is not UTF-8", table(_PLAIN.replace(",cat", ",caf\u00e9"), *_IMAGES, file_encoding="cp1252"), "data.label_table_not_utf8"),
    Situation("the same with `labels.encoding: cp1252`", table(_PLAIN.replace(",cat", ",caf\u00e9"), *_IMAGES, file_encoding="cp1252", encoding="cp1252"), Read({"caf\u00e9": 6, "dog": 6})),
    Situation("an Excel workbook", table("PK\x03\x04", *_IMAGES, file="labels.xlsx"), "data.label_table_workbook"),
    Situation("a column that the table does not have", table(_PLAIN, *_IMAGES, label="kind"), "data.label_table_column_missing"),
    Situation("two columns of one name", table(_PLAIN.replace("file,label", "file,file"), *_IMAGES, label="file"), "data.label_table_malformed"),
    Situation("an image in two rows", table(_PLAIN + "cat0.jpg,dog\n", *_IMAGES), "data.duplicate_row"),
    Situation("images that the table does not name", table(_PLAIN, *_IMAGES, "new{}.jpg"), Read(_TWO, left_out=6)),
    Situation("rows with an empty label", table(_PLAIN + "new0.jpg,\n", *_IMAGES, "new0.jpg"), Read(_TWO, left_out=2)),
    Situation("one column for each class (one-hot), `label: healthy`", table(_ONE_HOT, *_IMAGES, label="healthy"), "data.one_hot_label"),
    Situation("the same with `labels.class_columns`", table(_ONE_HOT, *_IMAGES, class_columns=_COLUMNS), Read(_CLASSES)),
    Situation("a one-hot row without a class", table(_ONE_HOT.replace("cat0.jpg,1", "cat0.jpg,0"), *_IMAGES, class_columns=_COLUMNS), "data.not_one_hot"),
    Situation("a one-hot row with two classes", table(_ONE_HOT.replace("cat0.jpg,1,0", "cat0.jpg,1,1"), *_IMAGES, class_columns=_COLUMNS), "data.not_one_hot"),
    Situation("probabilities instead of 0 and 1", table(_ONE_HOT.replace("cat0.jpg,1,0", "cat0.jpg,0.9,0.1"), *_IMAGES, class_columns=_COLUMNS), "data.not_one_hot"),
    Situation("0 and 1 in one column (two classes)", table(_PLAIN.replace(",cat", ",0").replace(",dog", ",1"), *_IMAGES), Read({"0": 6, "1": 6})),
    Situation("paths with `train/` and `test/`, no split column", table(rows("train/{label}{n}.jpg,{label}") + rows("test/{label}{n}.jpg,{label}", "")[1:], "train/cat{}.jpg", "train/dog{}.jpg", "test/cat{}.jpg", "test/dog{}.jpg"), Read({"cat": 12, "dog": 12}, {"train": 10, "validation": 2, "test": 12})),
    Situation("a split column with `Training`, `PublicTest`", table(rows("{label}{n}.jpg,{label},Training", "file,label,usage").replace("5.jpg,cat,Training", "5.jpg,cat,PublicTest").replace("5.jpg,dog,Training", "5.jpg,dog,PublicTest"), *_IMAGES, label="label", split="usage"), Read(_TWO, {"train": 8, "validation": 2, "test": 2})),
    Situation("a split column with `holdout`", table(rows("{label}{n}.jpg,{label},holdout", "file,label,usage"), *_IMAGES, label="label", split="usage"), "data.unknown_split"),
    Situation("no image of the table exists", table(_PLAIN), "data.no_usable_images"),
]  # fmt: skip
