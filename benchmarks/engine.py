"""The training engine: `fit` against a bare loop, and what gradient compression gains and costs.

    python benchmarks/engine.py speed
    python benchmarks/engine.py compression [--idx FOLDER] [--samples 6000]
    torchrun --standalone --nproc_per_node 2 benchmarks/engine.py compression

`speed` alternates `fit` with a loop written by hand that does the same work: the same model,
teacher, data, optimizer, clipping, schedule, validation and keeping of the best weights.
`compression` trains with rank ratios 1, 0.25 and 0.1 on three seeds each; launched in several
processes it is PowerSGD that compresses.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import ViTConfig, ViTForImageClassification

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.data.dataset import Dataset, load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec, ImageSpec
from compress.models.resnet import resnet
from compress.tasks.task import task as find_task
from compress.training.distributed.gradient_compression import bytes_per_step
from compress.training.distributed.power_sgd import hook_bytes, hook_rank
from compress.training.distributed.processes import join, leave
from compress.training.loop import fit
from compress.training.optimization import learning_rate_factor
from compress.training.options import TrainingOptions

TASK = find_task("image-classification")
ROUNDS = 11
SEEDS = (0, 1, 2)
RATIOS = (1.0, 0.25, 0.1)


def data_of(idx: Path | None, samples: int) -> tuple[Dataset, Any]:
    source: dict[str, Any] = {"idx": str(idx)} if idx else {"sklearn": "digits"}
    limit = {"train": samples, "validation": 1000} if idx else None
    spec = DataSpec(
        **source,
        **({"limit": limit} if limit else {}),
        image=ImageSpec(mean=[0.5], std=[0.5]),
    )
    data = load_data(spec, task=TASK, labels=(), seed=0)
    return data, load_preprocessor(None, task=TASK, spec=spec)


def vision_transformer() -> nn.Module:
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=8,
        patch_size=2,
        num_channels=1,
        num_labels=10,
    )
    return ViTForImageClassification(config)


def small_resnet() -> nn.Module:
    return resnet(blocks=[1, 1], width=32, in_channels=1, num_classes=10)


def distilling(teacher: nn.Module) -> Callable[[nn.Module, Any], Any]:
    teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
    teacher.to(memory_format=torch.channels_last)

    def loss(student: nn.Module, batch: Any) -> Any:
        logits = TASK.logits(student, {"pixel_values": batch["pixel_values"]})
        with torch.no_grad():
            wanted = TASK.logits(teacher, {"pixel_values": batch["pixel_values"]})
        soft = F.kl_div(
            F.log_softmax(logits.float() / 4, -1),
            F.log_softmax(wanted.float() / 4, -1),
            reduction="batchmean",
            log_target=True,
        )
        return 0.7 * 16 * soft + 0.3 * F.cross_entropy(logits.float(), batch["labels"])

    return loss


def bare(module: nn.Module, loss: Any, context: Context, artifact: Artifact, o: Any) -> nn.Module:
    """What one would write by hand."""
    torch.manual_seed(context.seed)
    module = copy.deepcopy(module)
    if any(isinstance(part, nn.Conv2d) for part in module.modules()):
        module.to(memory_format=torch.channels_last)
    decayed = [p for p in module.parameters() if p.ndim > 1]
    kept = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=o.learning_rate, fused=True)
    train = context.data.loader(
        "train", artifact.preprocessor, batch_size=o.batch_size, shuffle_seed=context.seed
    )
    validation = context.data.loader("validation", artifact.preprocessor, batch_size=o.batch_size)
    total, step, best = o.epochs * len(train), 0, -1.0
    weights: dict[str, Any] = {}
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=o.precision == "bf16")
    for _ in range(o.epochs):
        module.train()
        for batch in train:
            batch["pixel_values"] = batch["pixel_values"].contiguous(
                memory_format=torch.channels_last
            )
            with autocast:
                value = loss(module, batch)
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = o.learning_rate * learning_rate_factor(
                    step, total=total, warmup=o.warmup, schedule=o.schedule
                )
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            if step % 10 == 0 and not np.isfinite(value.item()):
                raise SystemExit("diverged")
        module.eval()
        right = count = 0
        with torch.no_grad():
            for batch in validation:
                with autocast:
                    logits = TASK.logits(module, {"pixel_values": batch["pixel_values"]})
                right += int((logits.argmax(-1) == batch["labels"]).sum())
                F.cross_entropy(logits.float(), batch["labels"])
                count += len(logits)
        if right / count > best:
            best = right / count
            weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    module.load_state_dict(weights)
    return module


def speed() -> None:
    data, preprocessor = data_of(None, 0)
    cases = [(make, precision) for make in (small_resnet, vision_transformer)
             for precision in ("fp32", "bf16")]  # fmt: skip
    for make, precision in cases:
        torch.manual_seed(0)
        module, teacher = make().eval(), make().eval()
        artifact = Artifact(Format.TORCH, module, preprocessor=preprocessor, labels=data.labels)
        options = TrainingOptions(epochs=3, batch_size=32, learning_rate=1e-3, precision=precision)
        loss = distilling(teacher)
        ratios, rates = [], []
        with tempfile.TemporaryDirectory() as folder:
            context = Context(artifact, TASK, data, Path(folder))

            ours = partial(
                fit,
                module,
                loss=loss,
                artifact=artifact,
                context=context,
                options=options,
                description="speed",
            )
            theirs = partial(bare, module, loss, context, artifact, options)
            trained = ours().module, theirs()  # warms up
            same = max(
                (a - b).abs().max().item()
                for a, b in zip(*(one.parameters() for one in trained), strict=True)
            )
            steps = 3 * -(-data.size("train") // 32)
            for round_ in range(ROUNDS):
                seconds = {}
                for work in (ours, theirs) if round_ % 2 else (theirs, ours):
                    began = time.perf_counter()
                    work()
                    seconds[work] = time.perf_counter() - began
                ratios.append(seconds[theirs] / seconds[ours])
                rates.append((steps / seconds[ours], steps / seconds[theirs]))
        rng = np.random.default_rng(0)
        medians = [np.median(rng.choice(ratios, len(ratios))) for _ in range(2000)]
        low, high = np.percentile(medians, [2.5, 97.5])
        own, hand = np.median(rates, axis=0)
        print(
            f"{make.__name__:18} {precision}: fit {own:6.1f} steps/s, by hand {hand:6.1f}; "
            f"ratio {np.median(ratios):.3f} ({low:.3f}-{high:.3f}); "
            f"weights differ by {same:.1e}",
            flush=True,
        )


def compression(idx: Path | None, samples: int) -> None:
    processes = join("cpu")
    data, preprocessor = data_of(idx, samples)
    say = print if processes.first else (lambda *_: None)
    say(f"{data.size('train')} training samples, {processes.count} process(es)")
    say("| rank ratio | accuracy | from seed to seed | seconds | bytes a step | of all |")
    say("| --- | --- | --- | --- | --- | --- |")
    for ratio in RATIOS:
        accuracies, seconds = [], []
        for seed in SEEDS:
            torch.manual_seed(seed)
            module = small_resnet().eval()
            artifact = Artifact(Format.TORCH, module, preprocessor=preprocessor, labels=data.labels)
            options = TrainingOptions(
                epochs=6, batch_size=64, learning_rate=3e-3,
                gradient_compression=None if ratio == 1.0 else {"rank_ratio": ratio},
            )  # fmt: skip
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                fitted = fit(
                    module,
                    loss=lambda student, batch: F.cross_entropy(
                        student(batch["pixel_values"]).float(), batch["labels"]
                    ),
                    artifact=artifact,
                    context=Context(artifact, TASK, data, Path(folder), seed=seed),
                    options=options,
                    description="compression",
                )
                seconds.append(time.perf_counter() - began)
            accuracies.append(accuracy(fitted.module, data, preprocessor))
        shapes = [p.shape for p in module.parameters()]
        whole, sent = (
            bytes_per_step(shapes, ratio)
            if processes.count == 1
            else hook_bytes(shapes, hook_rank(shapes, ratio))
        )
        if ratio == 1.0:
            sent = whole
        say(
            f"| {ratio:g} | {np.mean(accuracies):.4f} | {min(accuracies):.4f}-"
            f"{max(accuracies):.4f} | {np.median(seconds):.1f} | {sent:,} | {sent / whole:.0%} |"
        )
    leave()


def accuracy(module: nn.Module, data: Dataset, preprocessor: Any) -> float:
    right = count = 0
    with torch.no_grad():
        for batch in data.loader("test", preprocessor, batch_size=250):
            right += int((module(batch["pixel_values"]).argmax(1) == batch["labels"]).sum())
            count += len(batch["labels"])
    return right / count


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("speed", "compression"))
    parser.add_argument("--idx", type=Path)
    parser.add_argument("--samples", type=int, default=6000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "speed":
        speed()
    else:
        compression(given.idx, given.samples)


if __name__ == "__main__":
    main()
