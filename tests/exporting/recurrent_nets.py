"""Text classifiers with recurrent layers."""

import torch
from torch import nn

from tests.exporting.samples import texts


def words(count=2, length=7, *, padding=0):
    """Token ids and a mask, (N, S)."""
    batch = texts(count, length, padding=padding)
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


class TextNet(nn.Module):
    """The mean of a recurrent layer's states over the tokens, beside its last states.

    Parameters
    ----------
    kind : nn.LSTM, nn.GRU or nn.RNN.
    begins : whether a layer makes the first states from the first token.
    options : the recurrent layer's.
    """

    def __init__(self, kind, *, width=6, vocabulary=60, begins=False, **options):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(vocabulary, width), kind(width, 4, **options)
        self.first = options.get("batch_first", False)
        self.states = self.rnn.num_layers * (2 if self.rnn.bidirectional else 1)
        self.begin = nn.Linear(width, 4) if begins else None
        wide = 4 * (2 if self.rnn.bidirectional else 1)
        self.hidden, self.out = nn.Linear(wide + 4 * self.states, 16), nn.Linear(16, 2)

    def _states(self, embedded):
        if self.begin is None:
            return None
        one = self.begin(embedded[:, 0]).unsqueeze(0).repeat(self.states, 1, 1)
        return (one, one) if isinstance(self.rnn, nn.LSTM) else one

    def forward(self, input_ids, attention_mask):
        embedded = self.embed(input_ids)
        given = embedded if self.first else embedded.transpose(0, 1)
        made, last = self.rnn(given, self._states(embedded))
        made = made if self.first else made.transpose(0, 1)
        last = last[0] if isinstance(last, tuple) else last
        mask = attention_mask.unsqueeze(-1).float()
        mean = (made * mask).sum(1) / mask.sum(1)
        both = torch.cat([mean, last.transpose(0, 1).flatten(1)], 1)
        return self.out(torch.relu(self.hidden(both)))


NETS = {
    "LSTM": (nn.LSTM, {"batch_first": True}),
    "LSTM, two layers of both directions, first states": (
        nn.LSTM, {"batch_first": True, "num_layers": 2, "bidirectional": True, "begins": True},
    ),
    "GRU, length first": (nn.GRU, {"bidirectional": True}),
    "GRU, two layers, first states": (nn.GRU, {"num_layers": 2, "begins": True, "bias": False}),
    "RNN, ReLU": (nn.RNN, {"batch_first": True, "nonlinearity": "relu", "bidirectional": True}),
}  # fmt: skip
"""By name: the kind of layer, and the options of `TextNet`."""


def net(name):
    """The net of a name, with random weights."""
    torch.manual_seed(0)
    kind, options = NETS[name]
    return TextNet(kind, **options).eval()


def bidirectional_lstm():
    """A net for texts of a tokenizer with at most 320 tokens."""
    return TextNet(nn.LSTM, width=32, vocabulary=320, batch_first=True, bidirectional=True)
