"""Names in files from elsewhere lead to files in their folder, or to an error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.files.confined import inside
from compress.errors import DataError, InputError

PARTS = st.sampled_from(["..", ".", "a", "b", "link", "", "/", "\\", "C:", "~", "\0", "ä"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    (root / "inner" / "a").mkdir(parents=True)
    (root / "inner" / "link").symlink_to(root)
    return root / "inner"


@given(parts=st.lists(PARTS, max_size=6), slash=st.sampled_from(["/", "\\", ""]))
def test_whatever_is_named_lies_inside(folder: Path, parts: list[str], slash: str) -> None:
    try:
        found = inside(folder, slash.join(parts))
    except InputError:
        return
    assert found.resolve().is_relative_to(folder.resolve())
    assert found.resolve() != folder.resolve()


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "", "link/x", "x\0y", "\\\\h\\x", 3, None]
)
def test_what_leads_out_is_refused(folder: Path, name: object) -> None:
    with pytest.raises(DataError):
        inside(folder, name, error=DataError)


@pytest.mark.parametrize("name", ["x", "a/x", "a/../x", "..x", "a..b/x"])
def test_what_lies_inside_is_taken(folder: Path, name: str) -> None:
    assert inside(folder, name) == folder / name


def test_links_of_a_cache_may_lead_elsewhere(folder: Path) -> None:
    assert inside(folder, "link/x", links=True) == folder / "link/x"
    for name in ("../x", "a/../x", "/x", "a\\..\\x"):
        with pytest.raises(InputError):
            inside(folder, name, links=True)
