"""What INT8 costs two image models, and what rounding and training take back.

    python benchmarks/int8_images.py --idx FOLDER --run resnet=RUN/stages/01-train \
        --run mobilenet=RUN/stages/01-train

A run's folder holds `checkpoint.safetensors`, `structure.json` and `model.onnx`. For each model and
setting: accuracy on the test split in float, static minmax, with optimised rounding (AdaRound), and
after training quantization-aware (QAT), with the float model as teacher.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from compress.core.artifact import Artifact, Format
from compress.core.context import Batch, Context, Task
from compress.data.dataset import Dataset, load_data
from compress.data.images.transform import ImagePreprocessor
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.distillation.recovery import Recovery
from compress.measurement.quality import measure_quality
from compress.models.checkpoint import load_checkpoint
from compress.onnx_graph.files import load_graph
from compress.quantization.adaround.round import optimize_rounding
from compress.quantization.calibration.observe import observe
from compress.quantization.integers import Integers
from compress.quantization.qat.module import aware, write_back
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from compress.tasks.task import task

SETTINGS = (
    (Integers("uint8", "int8"), True),
    (Integers("uint8", "int8", True), False),
    (Integers("int8", "int8", True), False),
)
TASK: Task = task("image-classification")


class Images:
    """The data of all models."""

    def __init__(self, folder: Path, *, train: int, seed: int) -> None:
        values = {"idx": str(folder), "image": {"mean": [0.286], "std": [0.353]}}
        whole = DataSpec.model_validate(values)
        less = DataSpec.model_validate({**values, "limit": {"train": train}})
        self.preprocessor: ImagePreprocessor = load_preprocessor(None, task=TASK, spec=whole)
        self.train: Dataset = load_data(less, task=TASK, labels=(), seed=seed)
        self.seed = seed

    def accuracy(self, path: Path) -> float:
        loader = self.train.loader("test", self.preprocessor, batch_size=100)
        return 100 * measure_quality(path, loader=loader, metric="accuracy").value

    def calibration(self, samples: int) -> list[Batch]:
        loader = self.train.loader("calibration", self.preprocessor, batch_size=32, limit=samples)
        return list(loader)


def settings_of(
    run: Path, images: Images, integers: Integers, *, per_channel: bool, given: argparse.Namespace
) -> Iterator[tuple[str, float, float]]:
    """Each way, its accuracy and the seconds it took (on one thread)."""
    source = run / "model.onnx"
    selection = select(load_graph(source), method="static")
    batches = images.calibration(given.samples)
    observed = observe(
        source, activations(load_graph(source), selection), batches=batches, methods=["minmax"]
    )
    ranges = observed.ranges("minmax", integers=integers)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def quantize(floats: Path, name: str) -> Path:
            return quantize_static(
                floats,
                path=folder / name,
                selection=selection,
                ranges=ranges,
                integers=integers,
                per_channel=per_channel,
            )

        static = quantize(source, "static.onnx")
        yield "static", images.accuracy(static), 0.0
        began = time.process_time()
        rounded = folder / "rounded.onnx"
        optimize_rounding(
            source,
            path=rounded,
            selection=selection,
            ranges=ranges,
            integers=integers,
            batches=batches,
            per_channel=per_channel,
        )
        seconds = time.process_time() - began
        yield "rounding", images.accuracy(quantize(rounded, "both.onnx")), seconds
        for rate in given.rates:
            for learn_scales in (True, False):
                began = time.process_time()
                trained = train(
                    run, static, images, integers, rate, epochs=given.epochs, scales=learn_scales
                )
                seconds = time.process_time() - began
                name = f"trained {rate:g}" + ("" if learn_scales else ", fixed scales")
                yield name, images.accuracy(trained), seconds


def train(
    run: Path,
    static: Path,
    images: Images,
    integers: Integers,
    rate: float,
    *,
    epochs: int,
    scales: bool,
) -> Path:
    loaded = load_checkpoint(run)
    module, source = loaded
    reference = Artifact(
        Format.TORCH,
        module,
        source,
        preprocessor=images.preprocessor,
        labels=images.train.labels,
    )
    recovery = Recovery.model_validate(
        {
            "training": {
                "epochs": epochs,
                "batch_size": 64,
                "learning_rate": rate,
                "weight_decay": 0.0,
                "schedule": "cosine",
            }
        }
    )
    folder = static.parent
    fitted = recovery.recover(
        aware(static, source=run / "model.onnx", integers=integers, learn_scales=scales),
        artifact=reference,
        context=Context(reference, TASK, images.train, folder, seed=images.seed),
        description="train",
    )
    return write_back(fitted.module, static, path=folder / "trained.onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, required=True, help="folder of IDX files")
    parser.add_argument(
        "--run", action="append", required=True, help="NAME=FOLDER of a train stage"
    )
    parser.add_argument("--samples", type=int, default=256, help="for calibration and rounding")
    parser.add_argument("--train", type=int, default=12000, help="samples to train with")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 5e-4])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = Images(given.idx, train=given.train, seed=given.seed)
    for entry in given.run:
        name, _, folder = entry.partition("=")
        whole = images.accuracy(Path(folder) / "model.onnx")
        print(f"{name}: float {whole:.2f} %", flush=True)
        for integers, per_channel in SETTINGS:
            words = f"{integers}, per {'channel' if per_channel else 'tensor'}"
            ways = settings_of(Path(folder), images, integers, per_channel=per_channel, given=given)
            for way, accuracy, seconds in ways:
                lost = accuracy - whole
                print(
                    f"  {words:34} {way:26} {accuracy:6.2f} {lost:+.2f}  {seconds:4.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
