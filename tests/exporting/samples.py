"""Inputs for the tiny models."""

import torch

LABELS = ("red", "green", "blue")


def texts(count=2, length=9, *, padding=0):
    """A batch of token ids (count, length + padding), of which the last `padding` are masked."""
    ids = torch.randint(5, 60, (count, length))
    mask = torch.ones_like(ids)
    empty = torch.zeros(count, padding, dtype=torch.int64)
    ids, mask = torch.cat([ids, empty], 1), torch.cat([mask, empty], 1)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def images(count=2):
    return {"pixel_values": torch.randn(count, 1, 8, 8)}
