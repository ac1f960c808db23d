import gc
import os
import signal
from collections import Counter

import pytest
from hypothesis import settings

from tests.exported import ExportedOnce

# The same examples each time, so that a run that passes passes again; a busy machine's clock fails
# none. `--hypothesis-profile default` looks for new ones, and for twice as many.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("repeatable")

# A process of tests holds many live objects; Python would look through all of them again and again.
gc.set_threshold(100_000, 50, 50)

_BY_DEFAULT = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


def pytest_configure(config):
    """A shell's background jobs are born deaf to Ctrl-C, those of `nohup` to a hangup, and so would
    all that the tests start."""
    for number, handler in _BY_DEFAULT.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items):
    """Run the files with most slow tests first, so that all processes end at about one time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """After the last test of a file that exports models, free what they left, which is much and
    refers to itself, and take the rest (imported libraries) from all later collections."""
    ended = yield
    is_last = nextitem is None or nextitem.path != item.path
    if is_last and item.get_closest_marker("slow"):
        gc.collect()
        gc.freeze()
    return ended


@pytest.fixture(scope="session")
def exported_once(tmp_path_factory):
    """Exports each model once in a session; see `ExportedOnce`."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return ExportedOnce(folder / "exported")


@pytest.fixture(scope="session")
def exported_model(exported_once):
    """A model of `tests.exporting.tasks` and its ONNX file, for tests that change neither."""
    modules = {}

    def exported(name):
        from tests.exporting import tasks

        if name not in modules:
            modules[name] = tasks.model_for(name)
        return modules[name], exported_once(name, lambda path: tasks.export(name, path))

    return exported
