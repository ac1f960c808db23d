"""A program that calls the script's functions again and again opens the model once."""

import onnx
import pytest
from onnx import TensorProto, helper

from compress.exporting.examples.write import example_script
from compress.tasks.registry import built_in

TASKS = {task.name: task for task in built_in()}


@pytest.mark.parametrize("task", TASKS)
def test_the_model_is_opened_once(task, tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    opset = helper.make_opsetid("", 20)
    onnx.save(
        helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "model.onnx"
    )
    given = {"__name__": "infer", "__file__": str(tmp_path / "infer.py")}
    exec(compile(example_script(TASKS[task]), "infer.py", "exec"), given)  # noqa: S102
    assert given["open_session"]() is given["open_session"]()
