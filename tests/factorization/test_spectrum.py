import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.factorization.spectrum import spectrum

sizes = st.integers(2, 9)
seeds = st.integers(0, 10_000)


def drawn(rows, columns, seed):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def gram_of(inputs):
    exact = inputs.double()
    return exact.T @ exact / len(exact)


def squared_error(matrix, found, rank, inputs=None):
    change = matrix.double() - found.left[:, :rank].double() @ found.right[:rank].double()
    if inputs is None:
        return float(change.square().sum())
    return float((inputs.double() @ change.T).square().sum() / len(inputs))


@settings(max_examples=40, deadline=None)
@given(rows=sizes, columns=sizes, seed=seeds, data=st.data())
def test_no_matrix_of_the_rank_is_nearer_and_the_energy_is_its_distance(rows, columns, seed, data):
    matrix = drawn(rows, columns, seed)
    rank = data.draw(st.integers(1, min(rows, columns)))
    found = spectrum(matrix, largest=min(rows, columns))
    error = squared_error(matrix, found, rank)
    assert error == pytest.approx(float(found.energies[rank:].sum()), abs=1e-4)
    total = float(matrix.double().square().sum())
    assert found.lost()[rank].item() * total == pytest.approx(error, abs=1e-4)
    other = drawn(rows, rank, seed + 1).double()
    best = other @ torch.linalg.lstsq(other, matrix.double()).solution
    assert error <= float((matrix.double() - best).square().sum()) + 1e-5


@settings(max_examples=40, deadline=None)
@given(rows=sizes, columns=sizes, seed=seeds, data=st.data())
def test_with_a_gram_matrix_outputs_are_as_near_as_can_be(rows, columns, seed, data):
    matrix = drawn(rows, columns, seed)
    inputs = drawn(64, columns, seed + 1) @ drawn(columns, columns, seed + 2)
    rank = data.draw(st.integers(1, min(rows, columns)))
    plain = spectrum(matrix, largest=rank)
    aware = spectrum(matrix, gram=gram_of(inputs), largest=rank)
    scale = float((inputs @ matrix.T).square().sum() / 64)
    error = squared_error(matrix, aware, rank, inputs)
    assert error <= squared_error(matrix, plain, rank, inputs) + 1e-3 * scale
    # The least possible is the tail of the outputs' own singular values.
    outputs = torch.linalg.svdvals(inputs.double() @ matrix.double().T) ** 2 / 64
    assert error == pytest.approx(float(outputs[rank:].sum()), abs=2e-3 * scale)
    assert float(aware.energies[rank:].sum()) == pytest.approx(error, abs=2e-3 * scale)


@pytest.mark.parametrize("aware", [False, True])
def test_all_products_together_are_the_matrix(aware):
    matrix = drawn(6, 9, 0)
    gram = gram_of(drawn(50, 9, 1)) if aware else None
    found = spectrum(matrix, gram=gram, largest=6)
    torch.testing.assert_close(found.left @ found.right, matrix, atol=1e-5, rtol=1e-5)
    assert found.kept(6) == pytest.approx(1)
    assert found.kept(3) == pytest.approx(1 - found.lost()[3].item())


def test_both_factors_have_an_even_share_of_the_scale():
    matrix = drawn(6, 9, 0)
    plain = spectrum(matrix, largest=6)
    roots = torch.linalg.svdvals(matrix).sqrt()
    torch.testing.assert_close(plain.left.norm(dim=0), roots, atol=1e-5, rtol=1e-5)
    aware = spectrum(matrix, gram=gram_of(1000 * drawn(50, 9, 1)), largest=6)
    for found in (plain, aware):
        torch.testing.assert_close(found.left.norm(dim=0), found.right.norm(dim=1))


def test_a_singular_gram_matrix_leaves_what_was_not_seen_near_the_old_weights():
    matrix, inputs = drawn(6, 9, 0), drawn(3, 9, 1)  # six directions are never seen
    found = spectrum(matrix, gram=gram_of(inputs), largest=3)
    made = found.left @ found.right
    torch.testing.assert_close(inputs @ made.T, inputs @ matrix.T, atol=1e-2, rtol=1e-2)
    assert float(made.norm()) < 3 * float(matrix.norm())


def test_a_matrix_of_zeros_has_factors_of_zeros():
    found = spectrum(torch.zeros(4, 5), largest=2)
    assert float(found.left.abs().max()) == 0
    assert found.right.isfinite().all()
    assert (found.kept(1), found.lost()[0].item()) == (1.0, 0.0)
