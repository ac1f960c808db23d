"""Tiny modules with torch's own attention and transformer layers."""

import torch
from torch import Tensor, nn

from compress.tasks.task import task

CLASSES = task("text-classification")
IMAGES = task("image-classification")


class Patches(nn.Module):
    """Patches of an image, layers of torch's own encoder, their mean."""

    def __init__(self, layers: int = 2, **options) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 2, stride=2)
        layer = nn.TransformerEncoderLayer(32, 4, 48, **({"batch_first": True} | options))
        self.batch_first = options.get("batch_first", True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(32, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        tokens = self.patch(pixel_values).flatten(2).transpose(1, 2)
        if not self.batch_first:
            return self.head(self.encoder(tokens.transpose(0, 1)).mean(0))
        return self.head(self.encoder(tokens).mean(1))


class Padded(nn.Module):
    """Tokens, of which padding is masked; the encoder packs them when it answers."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 48, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(32, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        real = attention_mask.unsqueeze(-1)
        return self.head((hidden * real).sum(1) / real.sum(1))


class Queries(nn.Module):
    """As DETR: learned queries read an image by torch's own decoder, with a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 2, stride=2)
        self.queries = nn.Parameter(torch.randn(1, 5, 32))
        layer = nn.TransformerDecoderLayer(32, 4, 48, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, 1)
        self.head = nn.Linear(32, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        seen = self.patch(pixel_values).flatten(2).transpose(1, 2)
        queries = self.queries.expand(len(seen), -1, -1)
        mask = nn.Transformer.generate_square_subsequent_mask(5)
        return self.head(self.decoder(queries, seen, tgt_mask=mask, tgt_is_causal=True).mean(1))


class Apart(nn.Module):
    """Keys and values of other widths than the queries', and one of each that is learned."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 24)
        self.attention = nn.MultiheadAttention(24, 3, kdim=16, vdim=8, **options)
        self.head = nn.Linear(24, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        rows = pixel_values.flatten(1).unflatten(1, (-1, 16)).transpose(0, 1)  # (4, N, 16)
        seen, _ = self.attention(self.embed(rows), rows, rows[..., :8])
        return self.head(seen.relu().mean(0))


MADE = {
    "encoder": Patches,
    "encoder, time first": lambda: Patches(batch_first=False, norm_first=True, activation="gelu"),
    "encoder, no biases": lambda: Patches(bias=False),
    "padded": Padded,
    "decoder": Queries,
    "apart": Apart,
    "apart, learned": lambda: Apart(add_bias_kv=True, add_zero_attn=True),
    "apart, no biases": lambda: Apart(bias=False),
}


def attentive(name, **options):
    """(module in eval mode, example inputs, task) of a name in `MADE`."""
    torch.manual_seed(0)
    module = MADE[name](**options).eval()
    with torch.no_grad():  # biases that are zero would hide mistakes
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    if name == "padded":
        ids = torch.randint(3, 40, (2, 10))
        mask = (torch.arange(10)[None] < torch.tensor([[10], [7]])).long()
        return module, {"input_ids": ids * mask, "attention_mask": mask}, CLASSES
    return module, {"pixel_values": torch.rand(2, 1, 8, 8)}, IMAGES


def made(name):
    """A module of `MADE`, as a recipe names it."""
    return MADE[name]()
