import pytest

from compress.measurement.energy import Energy


def zone(folder, name, number, energy, kind="intel-rapl"):
    path = folder / f"{kind}:{number}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy}\n")
    (path / "max_energy_range_uj").write_text("1000000\n")
    return path


def test_the_energy_of_all_packages_is_added_and_that_of_their_parts_is_not(tmp_path):
    first, second = zone(tmp_path, "package-0", 0, 100), zone(tmp_path, "package-1", 1, 500)
    part, board = zone(tmp_path, "core", "0:0", 7), zone(tmp_path, "psys", 2, 9)
    with Energy(tmp_path) as energy:
        for path, value in ((first, 400_100), (second, 100_500), (part, 9_999), (board, 9_999)):
            (path / "energy_uj").write_text(f"{value}\n")
    assert energy.joules == pytest.approx(0.5)
    assert energy.kwh == pytest.approx(0.5 / 3.6e6)


def test_a_counter_that_began_again_is_followed(tmp_path):
    path = zone(tmp_path, "package-0", 0, 900_000)
    with Energy(tmp_path) as energy:
        (path / "energy_uj").write_text("300000\n")
    assert energy.joules == pytest.approx(0.4)


def test_a_machine_that_shows_none_has_none(tmp_path):
    with Energy(tmp_path / "absent") as energy:
        pass
    assert energy.joules is None
    assert energy.kwh is None


def test_a_counter_that_may_not_be_read_is_none(tmp_path):
    path = zone(tmp_path, "package-0", 0, 100)
    (path / "energy_uj").unlink()
    (path / "energy_uj").mkdir()
    with Energy(tmp_path) as energy:
        pass
    assert energy.joules is None
