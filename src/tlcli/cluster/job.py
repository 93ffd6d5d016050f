"""What an actor needs to compute units: plain values that are sent to it once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import tlcli
from tlcli.backbones.spec import BackboneSpec
from tlcli.backbones.weights import find_weights
from tlcli.engines.interface import open_engine
from tlcli.errors import ModelError
from tlcli.features.extractor import EngineOpener
from tlcli.features.key import feature_key
from tlcli.images.items import Decoder

_SENT = (
    "TLCLI_CACHE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AZURE_STORAGE_ACCOUNT_NAME", "KERAS_HOME", "TF_CPP_MIN_LOG_LEVEL",
)  # fmt: skip
"""Environment variables that every actor gets from the command: where things are. What gives access to them is each
node's own, as Ray keeps what is sent where everyone on the cluster can read it."""


def sent_environment() -> dict[str, str]:
    """The environment variables that an actor gets."""
    return {name: os.environ[name] for name in _SENT if name in os.environ}


@dataclass(frozen=True)
class Job:
    """One frozen pass."""

    spec: BackboneSpec
    decoder: Decoder
    key: str
    """Of the store; an actor checks that it would compute the same features."""
    weights: str = ""
    """The config's ``backbone.weights``, for a node that does not have them; empty takes those of ``spec`` alone."""
    opener: EngineOpener = open_engine
    threads: int = 1
    """Of an actor."""
    environment: Mapping[str, str] = field(default_factory=sent_environment)
    version: str = tlcli.__version__

    def on_this_node(self) -> "Job":
        """The job as an actor has it: with its environment set, and weights that are on its node.

        Raises:
            ModelError: the node has other versions, so that its features would be others, or no weights.
        """
        os.environ.update({**self.environment, "TLCLI_THREADS": str(self.threads)})
        file = self.spec.weights.file
        here = self
        if self.weights and not file.is_file():
            here = replace(self, spec=replace(self.spec, weights=find_weights(self.spec.row, self.weights)))
        if self.version != tlcli.__version__ or feature_key(here.spec, self.decoder.preparation) != self.key:
            raise ModelError(
                "model.node_differs",
                f"The node {os.uname().nodename} would compute other features: it has tlcli {tlcli.__version__} (this "
                f"command: {self.version}), or other versions of OpenVINO, Keras or Pillow, or other weights.",
                "Install the same versions on all nodes, as constraints.txt has them.",
            )
        return here
