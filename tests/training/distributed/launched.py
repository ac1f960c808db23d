"""Trains the tagger in each of some launched processes; run as a script by the tests.

Arguments: a folder for the results, and the training's options as JSON.
"""

import json
import sys
from pathlib import Path

import torch

from compress import Output, Task
from compress.tasks.metrics import accuracy
from compress.training.distributed.processes import end, join, leave
from compress.training.loop import fit
from compress.training.options import TrainingOptions
from tests.training.tokens import ARTIFACT, Sentences, TwoParts, context, tagger


class OwnTags(Task):
    """The tagger's task, as one on the contract."""

    name = "own-tags"
    modality = "text"
    outputs = (Output("tags", "classes"),)

    def table_of_metrics(self):
        return (accuracy("tags"),)


OPTIONS = {"optimizer": "sgd", "learning_rate": 0.5, "epochs": 2, "batch_size": 12}


def main(folder, options):
    torch.set_num_threads(1)
    processes = join("cpu")
    loss = TwoParts()
    task = {"task": OwnTags()} if options.pop("own", False) else {}
    fitted = fit(
        tagger(),
        loss=loss,
        artifact=ARTIFACT,
        context=context(Sentences(), folder / f"stage-{processes.index}", **task),
        options=TrainingOptions(**(OPTIONS | options)),
        description="train",
    )
    torch.save(
        {
            "weights": fitted.module.state_dict(),
            "types": sorted({type(p).__name__ for p in fitted.module.parameters()}),
            "losses": [dict(epoch.losses) for epoch in fitted.history],
            "scores": [dict(epoch.validation.figures) for epoch in fitted.history],
            "notes": fitted.notes,
        },
        folder / f"result-{processes.index}.pt",
    )
    leave()
    if processes.count > 1:
        end(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
