"""Peak memory of a next-token loss in chunks of tokens, beside that of the naive form.

    python benchmarks/chunked_loss.py --vocabulary 128000 --tokens 2048 --width 256

The loss is KL to the teacher at temperature 2 plus cross-entropy, forward and backward, with the
gradients of the last hidden states and of the student's head. Each form runs in a process of its
own, forked before this one loads torch; extra peak memory is how far the resident set rose above
its size before the loss (Linux).
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

MIB = 2**20


def measure(form: str, options: argparse.Namespace, gradients: Path) -> dict[str, float]:
    import psutil
    import torch
    from safetensors.torch import save_file
    from torch import nn

    from compress.distillation import losses

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    head, teacher_head = (nn.Linear(options.width, options.vocabulary) for _ in range(2))
    teacher_head.requires_grad_(False)
    hidden, teacher_hidden = torch.randn(2, 1, options.tokens, options.width)
    hidden.requires_grad_()
    targets = torch.randint(options.vocabulary, (1, options.tokens))
    nn.functional.linear(hidden[:, :1], head.weight).sum().item()  # what torch itself loads once

    def response(student_logits: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        return losses.token_divergence(student_logits, teacher_head(states), temperature=2.0)

    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    if form == "naive":
        logits = head(hidden)
        total = response(logits, teacher_hidden) + losses.labels(logits, targets)
        del logits
    else:
        mask = torch.ones_like(targets, dtype=torch.bool)
        parts = {
            "response": losses.TokenLoss(response, (teacher_hidden,), mask),
            "labels": losses.TokenLoss(losses.labels, (targets,), mask),
        }
        found = losses.chunked(hidden, head=head, parts=parts, chunk_tokens=options.chunk_tokens)
        total = found["response"] + found["labels"]
    total.backward()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    leaves = {"hidden": hidden, "weight": head.weight, "bias": head.bias}
    save_file({name: leaf.grad for name, leaf in leaves.items()}, gradients)
    return {"loss": total.item(), "seconds": seconds, "extra": (peak - before) / MIB}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabulary", type=int, default=128_000)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--width", type=int, default=256, help="of the hidden states")
    parser.add_argument("--chunk-tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    rows, found = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for form in ("naive", "chunked"):
            place = Path(folder) / f"{form}.safetensors"
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as alone:
                rows[form] = row = alone.submit(measure, form, options, place).result()
            print(
                f"{form:8} loss {row['loss']:.6f}  extra peak {row['extra']:7.0f} MiB  "
                f"{row['seconds']:.1f} s",
                flush=True,
            )
        from safetensors.numpy import load_file

        found = {form: load_file(Path(folder) / f"{form}.safetensors") for form in rows}
    print(f"chunked / naive extra peak: {rows['chunked']['extra'] / rows['naive']['extra']:.3f}")
    for name, wanted in found["naive"].items():
        gap = abs(found["chunked"][name] - wanted).max()
        print(f"largest gradient difference, {name}: {gap:.1e} of at most {abs(wanted).max():.1e}")


if __name__ == "__main__":
    main()
