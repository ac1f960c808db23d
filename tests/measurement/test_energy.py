import time

import pytest

from compress.measurement.energy import POWERCAP, Energy, unreadable


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
    assert unreadable(tmp_path) is not None
    assert str(tmp_path) in unreadable(tmp_path)


def test_a_counter_whose_range_may_not_be_read_is_none(tmp_path):
    path = zone(tmp_path, "package-0", 0, 900_000)
    (path / "max_energy_range_uj").unlink()
    with Energy(tmp_path) as energy:
        (path / "energy_uj").write_text("300000\n")
    assert energy.joules is None
    assert unreadable(tmp_path) is not None


def test_a_package_that_can_be_read_stands_for_no_other_that_cannot(tmp_path):
    zone(tmp_path, "package-0", 0, 100)
    (zone(tmp_path, "package-1", 1, 100) / "energy_uj").write_text("not a number\n")
    with Energy(tmp_path) as energy:
        pass
    assert energy.joules is None


def test_a_package_that_goes_meanwhile_leaves_nothing_to_tell(tmp_path):
    zone(tmp_path, "package-0", 0, 100)
    gone = zone(tmp_path, "package-1", 1, 100)
    with Energy(tmp_path) as energy:
        (gone / "name").write_text("psys\n")
    assert energy.joules is None


def test_zones_are_links_as_in_the_real_folder(tmp_path):
    """Linux's class folder links to the devices; each zone has its parts inside and beside it."""
    devices, classes = tmp_path / "devices" / "intel-rapl", tmp_path / "class"
    classes.mkdir()
    (devices / "enabled").mkdir(parents=True)
    (classes / "intel-rapl").symlink_to(devices)
    packages = []
    for number in range(2):
        package = zone(devices, f"package-{number}", number, 999_000)
        packages.append(package)
        (package / "constraint_0_power_limit_uw").write_text("125000000\n")
        (package / "power").mkdir()
        part = zone(package, "core", f"{number}:0", 5, kind="intel-rapl")
        for path in (package, part):
            (classes / path.name).symlink_to(path)
    with Energy(classes) as energy:
        for package, value in zip(packages, (999_500, 250_000), strict=True):  # one begins again
            (package / "energy_uj").write_text(f"{value}\n")
    assert energy.joules == pytest.approx(0.0005 + 0.251)
    assert unreadable(classes) is None


def test_a_machine_that_shows_none_has_nothing_to_say(tmp_path):
    assert unreadable(tmp_path) is None
    assert unreadable(tmp_path / "absent") is None


@pytest.mark.skipif(
    not any(POWERCAP.glob("*-rapl:*")) or unreadable() is not None,
    reason="this machine shows no energy",
)
def test_this_machines_packages_use_energy():
    with Energy() as energy:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            sum(range(1000))
    assert energy.joules is not None
    # Between a tenth of a watt and ten kilowatts.
    assert 0.03 < energy.joules < 3000
