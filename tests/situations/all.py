"""All situations, in the order of the document."""

from collections.abc import Mapping, Sequence

from tests.situations.archives import ARCHIVES
from tests.situations.config_texts import CONFIG_TEXTS
from tests.situations.folders import CLASS_FOLDERS, NAMES, SPLIT_FOLDERS
from tests.situations.inputs import INPUTS
from tests.situations.situation import Situation
from tests.situations.tables import TABLES

SITUATIONS: Mapping[str, Sequence[Situation]] = {
    "Split folders": SPLIT_FOLDERS,
    "Class folders": CLASS_FOLDERS,
    "Classes in the names of images": NAMES,
    "Label tables": TABLES,
    "Archives": ARCHIVES,
    "Addresses and lists": INPUTS,
    "Configs": CONFIG_TEXTS,
}
