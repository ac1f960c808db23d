import torch

from compress.tasks.pooling import mean_pool, pool


def test_masked_tokens_have_no_say():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]], [[5.0, 7.0]] * 3])
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    assert mean_pool(hidden, mask).tolist() == [[2.0, 4.0], [0.0, 0.0]]
    assert mean_pool(hidden.half(), mask).dtype == torch.float16
    assert pool(hidden, mask, pooling="max")[0].tolist() == [3.0, 6.0]
    assert pool(-hidden, mask, pooling="max")[0].tolist() == [-1.0, -2.0]
    assert pool(hidden, torch.tensor([[0, 1, 1]] * 2), pooling="cls")[0].tolist() == [3.0, 6.0]
