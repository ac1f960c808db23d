"""Two processes on CPU (gloo) make what one makes."""

import json
import subprocess
import sys

import pytest
import torch

from compress.errors import StageError
from compress.training.distributed.processes import Processes, launched, on_this_machine
from tests.launching import ENVIRONMENT, launch_two
from tests.training.distributed import launched as training_launched

FSDP = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: SIZE_BASED_WRAP
  fsdp_min_num_params: 200
  fsdp_reshard_after_forward: true
  fsdp_cpu_ram_efficient_loading: false
  fsdp_state_dict_type: FULL_STATE_DICT
main_process_port: 0
mixed_precision: 'no'
num_machines: 1
machine_rank: 0
num_processes: 2
use_cpu: true
"""


def launch(folder, **options):
    """Both processes' results."""
    for ended in launch_two(training_launched.main, folder, options, folder=folder):
        assert ended.returncode == 0, ended.stderr
    return results(folder)


def launch_by_accelerate(config, folder, **options):
    """Both results of processes that accelerate starts."""
    launcher = "accelerate.commands.launch", "--config_file", str(config)
    arguments = [training_launched.__file__, str(folder), json.dumps(options)]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return results(folder)


def results(folder):
    return [torch.load(folder / f"result-{index}.pt") for index in range(2)]


def alone(folder, **options):
    training_launched.main(folder, options)
    return torch.load(folder / "result-0.pt")


def assert_close(one, other, **tolerance):
    assert one["weights"].keys() == other["weights"].keys()
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(other["weights"][name], tensor, **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    # 37 samples: slices of the last batch are unequal, or empty.
    [{}, {"batch_size": 4, "accumulation_steps": 3}, {"batch_size": 1, "accumulation_steps": 12}],
)
def test_two_processes_make_what_one_makes(tmp_path, options):
    first, second = launch(tmp_path, **options)
    (tmp_path / "one").mkdir()
    one = alone(tmp_path / "one", **options)
    assert_close(first, second, atol=0, rtol=0)
    assert_close(one, first, atol=1e-5, rtol=1e-4)
    assert first["losses"] == second["losses"]
    for here, there in zip(
        one["losses"] + one["scores"], first["losses"] + first["scores"], strict=True
    ):
        assert here == pytest.approx(there, rel=1e-4)
    assert "trained by 2 processes" in first["notes"]
    assert (tmp_path / "stage-0" / "training.json").is_file()
    assert not (tmp_path / "stage-1" / "training.json").exists()


@pytest.mark.slow
def test_two_processes_validate_a_task_of_ones_own_together(tmp_path):
    options = {"own": True, "epochs": 1}
    first, second = launch(tmp_path, **options)
    (tmp_path / "one").mkdir()
    one = alone(tmp_path / "one", **options)
    for here, there, other in zip(one["scores"], first["scores"], second["scores"], strict=True):
        assert there == other
        assert here["accuracy"] == pytest.approx(there["accuracy"], abs=1e-6)
    assert "validation accuracy" in first["notes"][0]


@pytest.mark.slow
def test_two_processes_give_the_same_bytes_again(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, _ = launch(tmp_path / "first", precision="bf16")
    second, _ = launch(tmp_path / "second", precision="bf16")
    assert_close(first, second, atol=0, rtol=0)


@pytest.mark.slow
def test_weights_sharded_by_fsdp_come_back_whole(tmp_path):
    options = {"batch_size": 4, "accumulation_steps": 3, "max_grad_norm": 0.1}
    config = tmp_path / "fsdp.yaml"
    config.write_text(FSDP)
    first, second = launch_by_accelerate(config, tmp_path, **options)
    (tmp_path / "one").mkdir()
    assert first["types"] == ["Parameter"]
    assert_close(first, second, atol=0, rtol=0)
    assert_close(alone(tmp_path / "one", **options), first, atol=1e-5, rtol=1e-4)


def test_the_first_fsdp_is_refused(tmp_path, monkeypatch):
    # As accelerate sets them; that it does so, the test of the second one shows.
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(StageError, match="FSDP needs 'fsdp_version: 2'"):
        alone(tmp_path)


@pytest.mark.slow
def test_power_sgd_keeps_processes_together_and_learns(tmp_path):
    options = {"epochs": 20, "gradient_compression": {"rank_ratio": 0.25}}
    first, second = launch(tmp_path, **options)
    assert_close(first, second, atol=0, rtol=0)
    assert first["losses"][-1]["tags"] < 0.3 * first["losses"][0]["tags"]
    [note] = [note for note in first["notes"] if "PowerSGD" in note]
    assert "rank 4 from ratio 0.25" in note
    (tmp_path / "one").mkdir()
    whole = alone(tmp_path / "one", epochs=20)
    assert not torch.equal(whole["weights"]["head.weight"], first["weights"]["head.weight"])


def test_a_lone_process_talks_to_itself(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert launched() == Processes()
    assert on_this_machine() == 1
    assert Processes().gather("x") == ["x"]
    assert Processes().once(lambda: 3) == 3
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launched().count == 1, "a scheduler's variable alone launches nothing"
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert launched() == Processes(index=3, count=4)
    assert not launched().first
    assert on_this_machine() == 2
