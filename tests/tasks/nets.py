"""Small networks on tensors, for tests of tasks of one's own."""

import torch
from torch import Tensor, nn


class Signal(nn.Module):
    """A 1-D CNN: (N, 3, L) to (N, classes)."""

    def __init__(self, width: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(3, width, 5, padding=2),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(width, classes)

    def forward(self, signal: Tensor) -> Tensor:
        return self.head(self.body(signal))


class Table(nn.Module):
    """An MLP on a table: (N, F) to (N, outputs)."""

    def __init__(self, features: int = 6, width: int = 64, outputs: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


class Tagger(nn.Module):
    """A GRU that tags each step: (N, L, 2) to (N, L, classes)."""

    def __init__(self, width: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.gru = nn.GRU(2, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, steps: Tensor) -> Tensor:
        return self.head(self.gru(steps)[0])


class IdsAndNumbers(nn.Module):
    """Token ids (N, S), their mask (N, S) and numbers (N, 4) to (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.layers = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, numbers: Tensor) -> Tensor:
        mask = attention_mask.unsqueeze(-1).float()
        text = (self.embed(input_ids) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.layers(torch.cat([text, numbers], 1))


class Pair(nn.Module):
    """Two inputs, two outputs: a class and a box."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.kind = nn.Linear(width, 3)
        self.box = nn.Linear(width, 4)

    def forward(self, table: Tensor, extra: Tensor) -> tuple[Tensor, Tensor]:
        found = self.body(torch.cat([table, extra], 1))
        return self.kind(found), self.box(found)


class Swapped(Pair):
    """The same, with its inputs in another order."""

    def forward(self, extra: Tensor, table: Tensor) -> dict[str, Tensor]:
        kind, box = super().forward(table, extra)
        return {"box": box, "kind": kind}


class Segments(nn.Module):
    """A CNN that gives each pixel a class: (N, 1, H, W) to (N, classes, H, W)."""

    def __init__(self, width: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image))


class Spoken(nn.Module):
    """A 1-D CNN that gives every fourth step of a sound a letter: (N, 1, L) to (N, L / 4, V)."""

    def __init__(self, width: int = 24, letters: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, width, 9, padding=4, stride=2),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2, stride=2),
            nn.ReLU(),
            nn.Conv1d(width, letters, 1),
        )

    def forward(self, sound: Tensor) -> Tensor:
        return self.body(sound).transpose(1, 2)


class Finder(nn.Module):
    """Finds one thing: numbers (N, 6) to a box (N, 4) and scores of kinds (N, 2)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, width), nn.ReLU())
        self.box, self.kind = nn.Linear(width, 4), nn.Linear(width, 2)

    def forward(self, table: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.body(table)
        return self.box(seen), self.kind(seen)
