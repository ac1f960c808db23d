"""Tiny classifiers of texts whose attention is written with `torch.einsum`."""

import torch
from torch import Tensor, nn

WIDTH, HEADS, VOCABULARY, CLASSES = 32, 4, 320, 2


class Layers(nn.Module):
    """Linear layers make queries, keys and values; `einsum` multiplies them."""

    scores, mixed = "bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd"
    heads = (-1, WIDTH // HEADS)

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.output = nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 48), nn.Linear(48, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.embed(input_ids)
        hidden = hidden + self.attention(hidden, attention_mask[:, None, None] == 0)
        hidden = hidden + self.down(self.up(hidden).relu())
        real = attention_mask.unsqueeze(-1)
        answer: Tensor = self.head((hidden * real).sum(1) / real.sum(1))
        return answer

    def attention(self, hidden: Tensor, padding: Tensor) -> Tensor:
        query, key, value = (
            layer(hidden).unflatten(-1, self.heads) for layer in (self.query, self.key, self.value)
        )
        return self.output(self.product(query, key, value, padding).flatten(2))

    def product(self, query: Tensor, key: Tensor, value: Tensor, padding: Tensor) -> Tensor:
        scores = torch.einsum(self.scores, query, key) / query.shape[-1] ** 0.5
        return torch.einsum(self.mixed, scores.masked_fill(padding, -1e4).softmax(-1), value)


class HeadsFirst(Layers):
    """As `einops` and JAX people write it: heads before places, and an ellipsis."""

    def attention(self, hidden: Tensor, padding: Tensor) -> Tensor:
        query, key, value = (
            layer(hidden).unflatten(-1, self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = torch.einsum("...id,...jd->...ij", query, key) / query.shape[-1] ** 0.5
        scores = scores.masked_fill(padding, -1e4).softmax(-1)
        mixed = torch.einsum("...ij,...jd->...id", scores, value)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Weights(Layers):
    """The projections are `einsum` too, of weights with an axis for heads."""

    def __init__(self) -> None:
        super().__init__()
        each = WIDTH // HEADS
        self.query, self.key, self.value = (
            nn.Parameter(0.2 * torch.randn(WIDTH, HEADS, each)) for _ in range(3)
        )
        self.output = nn.Parameter(0.2 * torch.randn(HEADS, each, WIDTH))

    def attention(self, hidden: Tensor, padding: Tensor) -> Tensor:
        query, key, value = (
            torch.einsum("bsd,dhe->bshe", hidden, weight)
            for weight in (self.query, self.key, self.value)
        )
        mixed = self.product(query, key, value, padding)
        return torch.einsum("bqhd,hdw->bqw", mixed, self.output)


class Numbered(Layers):
    """Its code names the number of heads, so that one head less would make others of the rest."""

    heads = (HEADS, -1)


MADE = {
    "layers": Layers,
    "heads first": HeadsFirst,
    "numbered": Numbered,
    "weights": Weights,
}


def einsums(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """(module in eval mode, example inputs) of a name in `MADE`."""
    torch.manual_seed(0)
    ids = torch.randint(1, VOCABULARY, (2, 10))
    mask = (torch.arange(10)[None] < torch.tensor([[10], [7]])).long()
    return MADE[name]().eval(), {"input_ids": ids * mask, "attention_mask": mask}
