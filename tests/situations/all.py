"""All situations, in the order of the document."""

from collections.abc import Mapping, Sequence

from tests.situations.archives import ARCHIVES
from tests.situations.config_texts import CONFIG_TEXTS
from tests.situations.evaluation import EVALUATION
from tests.situations.folders import CLASS_FOLDERS, NAMES, SPLIT_FOLDERS
from tests.situations.images import IMAGE_FILES, VALUES
from tests.situations.inputs import INPUTS
from tests.situations.published import PUBLISHED
from tests.situations.results import RESULTS
from tests.situations.situation import Situation
from tests.situations.tables import TABLES

SITUATIONS: Mapping[str, Sequence[Situation]] = {
    "Split folders": SPLIT_FOLDERS,
    "Class folders": CLASS_FOLDERS,
    "Classes in the names of images": NAMES,
    "Label tables": TABLES,
    "Published data sets": PUBLISHED,
    "Image files": IMAGE_FILES,
    "Values and bands of images": VALUES,
    "Archives": ARCHIVES,
    "Addresses and lists": INPUTS,
    "Configs": CONFIG_TEXTS,
    "Numbers and names": RESULTS,
    "Evaluating a run, and naming it": EVALUATION,
}
