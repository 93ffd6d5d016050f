"""Stand-in until the branch of class imbalance is merged."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Objective:
    """A metric to aim at."""

    name: str

    @classmethod
    def parse(cls, text: str) -> "Objective":
        return cls(text)

    def score(self, labels: "np.ndarray", probabilities: "np.ndarray") -> float:
        predicted = probabilities.argmax(axis=1)
        if self.name == "balanced_accuracy":
            return float(np.mean([np.mean(predicted[labels == label] == label) for label in np.unique(labels)]))
        if self.name == "log_loss":
            return float(np.mean(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12))))
        return float(np.mean(predicted == labels))
