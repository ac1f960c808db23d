"""Small data sets of arrays, made from a seed."""

import numpy as np

COUNT = 400


def signals() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    label = random.integers(0, 4, COUNT)
    time = np.arange(48)
    waves = np.stack([np.sin(time * (kind + 1) / 6)[None].repeat(3, 0) for kind in label])
    return {
        "signal": (waves + random.normal(0, 0.4, waves.shape)).astype(np.float32),
        "label": label,
    }


def table() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    features = random.normal(size=(COUNT, 6)).astype(np.float32)
    price = features[:, 0] * 2 - features[:, 1] + 0.1 * random.normal(size=COUNT)
    return {"features": features, "label": price.astype(np.float32)}


def steps() -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    values = random.normal(size=(COUNT, 10, 2)).astype(np.float32)
    tags = (values[:, :, 0] > 0).astype(np.int64) + (values[:, :, 1] > 0)
    tags[:, 0] = -100
    return {"steps": values, "label": tags}


def ids_and_numbers() -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    ids = random.integers(1, 50, (COUNT, 7))
    numbers = random.normal(size=(COUNT, 4)).astype(np.float32)
    mask = (np.arange(7) < random.integers(2, 8, COUNT)[:, None]).astype(np.int64)
    label = (numbers[:, 0] + (ids[:, 0] > 25) > 0.5).astype(np.int64)
    return {"input_ids": ids * mask, "attention_mask": mask, "numbers": numbers, "label": label}


def pairs() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    one = random.normal(size=(COUNT, 6)).astype(np.float32)
    other = random.normal(size=(COUNT, 4)).astype(np.float32)
    kinds = np.array(["ant", "bee", "cat"])[one[:, :3].argmax(1)]
    box = np.stack([one[:, 0] + other[:, 0], one[:, 1], other[:, 2], one[:, 3]], 1)
    return {"table": one, "extra": other, "kind": kinds, "box": box.astype(np.float32)}
