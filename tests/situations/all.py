"""All situations, in the order of the document."""

from collections.abc import Mapping, Sequence

from tests.situations.config_texts import CONFIG_TEXTS
from tests.situations.evaluation import EVALUATION
from tests.situations.folders import CLASS_FOLDERS, NAMES, SPLIT_FOLDERS
from tests.situations.images import IMAGE_FILES, VALUES
from tests.situations.situation import Situation
from tests.situations.tables import TABLES

SITUATIONS: Mapping[str, Sequence[Situation]] = {
    "Split folders": SPLIT_FOLDERS,
    "Class folders": CLASS_FOLDERS,
    "Classes in the names of images": NAMES,
    "Label tables": TABLES,
    "Image files": IMAGE_FILES,
    "Values and bands of images": VALUES,
    "Configs": CONFIG_TEXTS,
    "Evaluating a run, and naming it": EVALUATION,
}
