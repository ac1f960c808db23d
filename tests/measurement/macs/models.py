"""Small networks of all that multiplies, with what one sample of each takes, by hand."""

import torch
from torch import nn
from torch.nn import functional

LENGTH, WIDTH = 6, 8
IMAGES = torch.rand(2, 3, 8, 8)
WORDS = {
    "input_ids": torch.randint(1, 20, (2, LENGTH)),
    "attention_mask": torch.tensor([[1] * LENGTH, [1] * 4 + [0] * 2]),
}


class Convolutions(nn.Module):
    """Plain, grouped, depthwise and transposed, with a bias or none, in one and two dimensions."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4),
            nn.Conv2d(12, 24, 3, groups=12),
            nn.ConvTranspose2d(24, 6, 3, stride=2, groups=2),
        )
        self.line = nn.Conv1d(6, 4, 5)
        self.head = nn.Linear(4, 3)

    def forward(self, pixel_values):
        hidden = functional.gelu(self.body(pixel_values))
        return self.head(self.line(hidden.flatten(2)).mean(-1))

    macs = (
        16 * 8 * 27 + 16 * 12 * 2 * 9 + 4 * 24 * 9  # 4 x 4, 4 x 4 and 2 x 2 places
        + 4 * 24 * 3 * 9 + (25 - 4) * 4 * 6 * 5 + 4 * 3
    )  # fmt: skip


class Words(nn.Module):
    """Embeddings into a body, and its mean over the tokens into a head."""

    def __init__(self, body, made=WIDTH):
        super().__init__()
        self.embed = nn.Embedding(20, WIDTH)
        self.body = body
        self.head = nn.Linear(made, 3)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).float()
        answer = self.body(self.embed(input_ids))
        states = answer if isinstance(answer, torch.Tensor) else answer[0]
        return self.head((states * mask).sum(1) / mask.sum(1))


def recurrent(kind, **options):
    return kind(WIDTH, 5, batch_first=True, **options)


class Attending(nn.Module):
    """nn.MultiheadAttention, with keys and values of another width and length, for each sample."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, kdim=5, vdim=5, batch_first=True)
        self.memory = nn.Parameter(torch.rand(1, 7, 5))

    def forward(self, states):
        memory = self.memory.expand(states.shape[0], -1, -1)
        return self.attention(states, memory, memory, need_weights=False)[0]

    macs = LENGTH * 2 * WIDTH**2 + 2 * 7 * 5 * WIDTH + 2 * LENGTH * 7 * WIDTH


class Einsums(nn.Module):
    """Attention written as sums over letters, a product of three, and an element-wise one."""

    def __init__(self):
        super().__init__()
        self.query, self.gate = nn.Parameter(torch.rand(2, WIDTH, 4)), nn.Parameter(torch.rand(8))

    def forward(self, states):
        query = torch.einsum("bsd,hde->bhse", states, self.query)
        scores = torch.einsum("bhqe,bhke->bhqk", query, query).softmax(-1)
        mixed = torch.einsum("bhqk,bkd->bhqd", scores, states)
        gated = torch.einsum("bhqd,d->bhqd", mixed, self.gate)
        return torch.einsum("bhqd,bqd,hde->bqe", gated, states, self.query).repeat(1, 1, 2)

    macs = (
        LENGTH * 2 * WIDTH * 4 + LENGTH**2 * 2 * 4 + LENGTH**2 * 2 * WIDTH + LENGTH * 2 * WIDTH * 4
    )


class Rest(nn.Module):
    """A bilinear layer, a cell in a loop, a matrix by a vector, and what isn't to be counted.

    Of weights alone: a table through a layer. Never read: a layer of its own.
    """

    def __init__(self):
        super().__init__()
        self.pair, self.cell = nn.Bilinear(WIDTH, WIDTH, 4), nn.GRUCell(4, WIDTH)
        self.table, self.through = nn.Parameter(torch.rand(5, WIDTH)), nn.Linear(WIDTH, WIDTH)
        self.unread = nn.Linear(WIDTH, 50)

    def forward(self, states):
        self.unread(states)
        paired = self.pair(states, states)
        hidden = states.new_zeros(states.shape[0], WIDTH)
        for place in range(2):
            hidden = self.cell(paired[:, place], hidden)
        scores = torch.matmul(states, self.through(self.table).mean(0))
        return states * scores.unsqueeze(-1) + hidden.unsqueeze(1)

    macs = LENGTH * (4 * WIDTH**2 + 4 * WIDTH) + 2 * 3 * WIDTH * (4 + WIDTH) + LENGTH * WIDTH


def _encoder():
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 12, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


_ENCODER = 2 * (LENGTH * (4 * WIDTH**2 + 2 * WIDTH * 12) + 2 * LENGTH**2 * WIDTH)
_GATES = LENGTH * 5
TEXTS = {
    "LSTM": (lambda: recurrent(nn.LSTM), 5, _GATES * 4 * (8 + 5)),
    "LSTM, two layers, both directions": (
        lambda: recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        10,
        _GATES * 4 * 2 * ((8 + 5) + (10 + 5)),
    ),
    "LSTM, projected": (
        lambda: recurrent(nn.LSTM, proj_size=3), 3, _GATES * 4 * (8 + 3) + LENGTH * 5 * 3,
    ),
    "GRU": (lambda: recurrent(nn.GRU), 5, _GATES * 3 * (8 + 5)),
    "GRU, two layers, both directions": (
        lambda: recurrent(nn.GRU, num_layers=2, bidirectional=True),
        10,
        _GATES * 3 * 2 * ((8 + 5) + (10 + 5)),
    ),
    "RNN": (lambda: recurrent(nn.RNN, nonlinearity="relu"), 5, _GATES * (8 + 5)),
    "TransformerEncoder": (_encoder, WIDTH, _ENCODER),
    "MultiheadAttention": (Attending, WIDTH, Attending.macs),
    "einsum": (Einsums, WIDTH, Einsums.macs),
    "the rest": (Rest, WIDTH, Rest.macs),
}  # fmt: skip
"""By name: what makes the body, the width that it gives, and its multiply-accumulates."""


def words(name):
    """(module in eval mode, multiply-accumulates of one sample) of a name in `TEXTS`."""
    torch.manual_seed(0)
    body, made, macs = TEXTS[name]
    return Words(body(), made).eval(), macs + made * 3
