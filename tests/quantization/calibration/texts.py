"""Texts with padding on either side."""

import torch


def padded(ids, *, before=0, after=0):
    """One text in a batch of its own, padded on both sides."""
    row = torch.cat([torch.zeros(before, dtype=torch.long), ids, torch.full((after,), 7)])
    mask = torch.zeros_like(row)
    mask[before : before + len(ids)] = 1
    return {"input_ids": row, "attention_mask": mask, "token_type_ids": torch.zeros_like(row)}


def collate(rows):
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
