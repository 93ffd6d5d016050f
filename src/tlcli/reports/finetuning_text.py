"""What fine-tuning brought, in sentences, for the terminal and the page."""

from dataclasses import dataclass
from typing import Literal

from tlcli.evaluation.finetuning_proof import Pair
from tlcli.runs.records import RunFinetuning


@dataclass(frozen=True)
class FinetuningSection:
    """What the page shows."""

    record: RunFinetuning

    @property
    def text(self) -> str:
        """See :func:`finetuning_text`."""
        return finetuning_text(self.record)

    @property
    def part(self) -> str:
        """What was trained."""
        return part_text(self.record.blocks)

    @property
    def warning(self) -> str:
        """See :func:`shifts_text`."""
        return shifts_text(self.record)

    @property
    def rows(self) -> list[tuple[str, Pair]]:
        """The lines of the table: the images as they are, then shifted copies."""
        return [("as they are", self.record.proof.plain), *self.record.proof.shifts.items()]


def finetuning_text(found: RunFinetuning) -> str:
    """What fine-tuning brought on validation images, and which of the two the model has."""
    if not found.epochs:
        losses = "" if found.held_out_loss is None else " ({1:.3f}, frozen {0:.3f})".format(*found.held_out_loss)
        return (
            f"Fine-tuning the {part_text(found.blocks)}: no learning rate ended with a lower log loss than the frozen "
            f"head on held-out training images{losses}, so nothing was trained. The model has the frozen network."
        )
    plain = found.proof.plain
    low, high = (f"{100 * end:+.1f}" for end in plain.difference_ci95)
    if plain.is_better:
        verdict = "it helps"
    elif plain.is_worse:
        verdict = "it hurts"
    else:
        verdict = "no evidence that it helps"
    model = "fine-tuned network" if found.is_kept else "frozen network"
    why = "" if found.is_kept == plain.is_better else ", as finetune.keep says" if found.is_kept else ""
    return (
        f"Fine-tuning the {part_text(found.blocks)}: {100 * plain.difference:+.1f} points of {found.proof.compared} on "
        f"{found.proof.images:,} validation images (95 % interval {low} to {high}): {verdict}. "
        f"The model has the {model}{why}."
    )


def part_text(blocks: int | Literal["all"]) -> str:
    """``last 3 blocks``."""
    return {1: "last block", "all": "whole network"}.get(blocks, f"last {blocks} blocks")


def shifts_text(found: RunFinetuning) -> str:
    """On which shifted copies fine-tuning loses; empty where on none."""
    lost = [name for name, pair in found.proof.shifts.items() if pair.is_worse]
    if not lost:
        return ""
    return f"On shifted copies of these images fine-tuning loses {found.proof.compared}: {', '.join(lost)}."
