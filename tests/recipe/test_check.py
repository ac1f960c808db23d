import pytest

from compress.stages.registry import stage_names

KNOWN = ", ".join(stage_names())

FIVE_MISTAKES = """\
version: 1
name: digits
sed: 3
model: {python: "compress.models.resnet:resnet"}
task: image-classification
data:
  sklearn: digits
  limit: {trian: 100}
gates: {accuracy_drop: 1.5}
stages:
  - use: train
    training: {epochs: "2"}
  - use: prune
    target:
      macs: 1.5
  - use: export
"""


def test_five_mistakes_are_five_lines_in_the_order_of_the_file(problems):
    assert problems(FIVE_MISTAKES) == [
        "r.yaml:3 unknown key 'sed'. Known: data, gates, measure, model, name, report, seed, "
        "stages, task, version. Did you mean 'seed'?",
        "r.yaml:8 in 'data.limit': unknown key 'trian'. Known: calibration, test, train, "
        "validation. Did you mean 'train'?",
        "r.yaml:9 'gates.accuracy_drop' must be a float in [0, 1) or null. Got 1.5.",
        "r.yaml:12 stages[0] (train): 'training.epochs' must be an int in [1, 100000]. Got '2'. It "
        "is a text: write the number without quotes.",
        "r.yaml:15 stages[1] (prune): 'target.macs' must be a float in (0, 1) or null. Got 1.5.",
    ]


def test_a_right_recipe_has_no_problem(problems):
    assert problems() == []


def test_prune_after_quantize_is_refused_with_the_reason(problems):
    text = "version: 1\nname: a\nmodel: {python: 'compress.models.resnet:resnet'}\n"
    text += "task: image-classification\ndata: {sklearn: digits}\nstages:\n"
    text += "  - use: quantize\n  - use: prune\n    target: {macs: 0.5}\n"
    assert problems(text) == [
        "r.yaml:8 stages[1] (prune): 'prune' takes torch and would be given onnx-int8 made by "
        "stages[0] (quantize). Put it before stages[0] (quantize)."
    ]


@pytest.mark.parametrize(("key", "value"), [("precisions", "[fp32, int8]"), ("target_cpu", "any")])
def test_precisions_after_quantize_are_refused_with_what_to_write(key, value, problems):
    swap = ("  - use: export\n", f"  - use: export\n    {key}: {value}\n")
    assert problems(replace=swap) == [
        f"r.yaml:13 stages[3] (export): {key!r} needs a float model, of which it makes each "
        "precision, and would be given INT8. Put 'export' in the place of 'quantize': its "
        "precision int8 is made in the same way."
    ]
    alone = ("  - use: quantize\n  - use: export\n", f"  - use: export\n    {key}: {value}\n")
    assert problems(replace=alone) == []


def test_no_single_int8_file_is_for_any_cpu(problems):
    swap = ("  - use: quantize\n", "  - use: quantize\n    target_cpu: any\n")
    (found,) = problems(replace=swap)
    assert found.startswith("r.yaml:12 stages[2] (quantize): ")
    assert "Put 'export' with 'target_cpu: any' in the place of 'quantize'" in found


def test_an_order_that_an_override_makes_impossible_is_located_there(problems):
    [found] = problems(overrides=("stages.0={use: quantize, name: q}",))
    assert found.startswith("--set stages.0={use: quantize, name: q} stages[1] (prune): 'prune'")


def test_both_orders_of_quantize_and_export_are_right(problems):
    swap = ("  - use: quantize\n  - use: export\n", "  - use: export\n  - use: quantize\n")
    assert problems(replace=swap) == []


def test_an_unknown_stage_names_the_nearest(problems):
    assert problems(replace=("use: quantize", "use: quantise")) == [
        f"r.yaml:11 stages[2]: unknown stage 'quantise'. Known: {KNOWN}. Did you mean 'quantize'?"
    ]


def test_a_stage_without_use_is_told_which_there_are(problems):
    assert problems(replace=("- use: quantize", "- name: q")) == [
        f"r.yaml:11 stages[2]: 'use' is missing. It must be one of {KNOWN}."
    ]


def test_a_stage_that_is_no_mapping(problems):
    assert problems(replace=("- use: quantize", "- quantize")) == [
        "r.yaml:11 'stages[2]' must be a mapping with the key 'use'. Got 'quantize'."
    ]


def test_the_same_stage_twice_needs_a_name(problems):
    twice = (
        "  - use: quantize\n",
        "  - use: prune\n    target: {params: 0.5}\n  - use: quantize\n",
    )
    assert problems(replace=twice) == [
        "r.yaml:11 stages[2] (prune): the name 'prune' is that of stages[1] too. "
        "Give one of them another 'name'."
    ]
    named = (twice[0], twice[1].replace("use: prune", "use: prune\n    name: again"))
    assert problems(replace=named) == []


def test_the_first_rows_name_is_taken(problems):
    assert problems(replace=("- use: export", "- use: export\n    name: original")) == [
        "r.yaml:13 stages[3] (export): the name 'original' is taken by the first row."
    ]


def test_a_missing_key_is_named_at_the_mapping_around_it(problems):
    assert problems(replace=("    target: {macs: 0.5}\n", "")) == [
        "r.yaml:9 stages[1] (prune): exactly one of 'target' and a mapping in 'ratios' must be "
        "given."
    ]
    assert problems(replace=("task: image-classification\n", "")) == [
        "r.yaml:1 'task' is missing. It must be a string or a mapping with the keys name, python, "
        "arguments."
    ]


def test_no_stages(problems):
    text = "version: 1\nname: a\nmodel: {python: 'compress.models.resnet:resnet'}\n"
    text += "task: image-classification\ndata: {sklearn: digits}\n"
    assert problems(f"{text}stages: []\n") == [
        "r.yaml:6 'stages' must be a list of one stage or more. Got []."
    ]
    assert problems(text) == [
        "r.yaml:1 'stages' is missing. It must be a list of one stage or more."
    ]


def test_an_unknown_task(problems):
    [unknown] = problems(replace=("image-classification", "image-clasification"))
    assert unknown.startswith("r.yaml:4 unknown task 'image-clasification'. Known: ")
    assert unknown.endswith("Did you mean 'image-classification'?")


def test_a_metric_of_another_task(problems):
    measured = ("stages:", "measure:\n  metric: acuracy\nstages:")
    [found] = problems(replace=measured)
    assert found.startswith("r.yaml:7 unknown metric for image-classification 'acuracy'. Known: ")
    assert found.endswith("Did you mean 'accuracy'?")


NO_LABELS = "data: {sklearn: digits, columns: {label: null}}"


def test_a_metric_that_data_without_labels_cannot_have(problems):
    change = ("data: {sklearn: digits}", f"{NO_LABELS}\nmeasure: {{metric: accuracy}}")
    assert (
        "r.yaml:6 'measure.metric' must be one of agreement for data without labels. "
        "Got 'accuracy'."
    ) in problems(replace=change)


@pytest.mark.parametrize("columns", ["{text: a}", "{text: a, text_pair: b}"])
def test_rankings_need_queries_with_documents(problems, columns):
    text = (
        "version: 1\nname: x\nmodel: {transformers: some/model}\ntask: feature-extraction\n"
        f"data: {{huggingface: some/data, columns: {columns}}}\n"
        "measure: {metric: mrr}\nstages: [{use: quantize}]\n"
    )
    said = [one for one in problems(text) if "'measure.metric'" in one]
    needed = (
        "r.yaml:6 'measure.metric' must be one of spearman, recall_at_1, recall_at_10 for data "
        "without labels. Got 'mrr'."
    )
    assert said == ([] if "text_pair" in columns else [needed])


def test_a_gate_that_cannot_judge_the_metric(problems):
    change = ("stages:", "gates: {size_ratio: 2, perplexity_ratio: 1.1}\nstages:")
    assert problems(replace=change) == [
        "r.yaml:6 'perplexity_ratio' can't judge the metric 'accuracy'. 'accuracy_drop' can."
    ]


def test_a_stage_that_cannot_work_for_the_task(problems, monkeypatch):
    from compress.stages.prune.stage import Prune

    monkeypatch.setattr(Prune, "tasks", frozenset({"text-classification"}))
    assert problems() == [
        "r.yaml:9 stages[1] (prune): 'prune' can't work for the task 'image-classification'. "
        "It can for: text-classification."
    ]


def test_missing_files_are_found_with_their_lines(problems):
    files = "data:\n  huggingface: csv\n  files:\n    train: a.csv\n"
    assert problems(replace=("data: {sklearn: digits}\n", files)) == [
        "r.yaml:8 'data.files.train': there is no file 'a.csv': no such file or directory."
    ]
    model = ('model: {python: "compress.models.resnet:resnet"}', "model:\n  transformers: ./no")
    assert problems(replace=model) == [
        "r.yaml:4 'model.transformers': there is no folder './no': no such file or directory."
    ]


def test_a_problem_of_several_keys_names_the_mapping(problems):
    assert problems(replace=("macs: 0.5", "macs: 0.5, params: 0.5")) == [
        "r.yaml:10 stages[1] (prune): 'target': exactly one of macs, params, size, latency must be "
        "given. Got macs and params."
    ]


def test_a_recipe_that_is_no_mapping(problems):
    assert problems("- a\n") == [
        "r.yaml:1 'recipe' must be a mapping of keys to values. Got ['a']."
    ]
    assert problems("") == ["r.yaml:1 'recipe' must be a mapping of keys to values. Got None."]


def test_a_runtime_that_isnt_installed_is_refused(problems, monkeypatch):
    monkeypatch.setattr("compress.measurement.runtimes.names.find_spec", lambda name: None)
    measured = ("stages:", "measure:\n  runtimes: [onnxruntime, openvino]\nstages:")
    [found] = problems(replace=measured)
    assert found.endswith("'measure.runtimes': needs openvino: pip install 'compress[openvino]'.")


def test_generation_is_timed_for_its_task_alone(problems):
    measured = ("stages:", "measure: {generation: {prompt: 8}}\nstages:")
    assert problems(replace=measured) == [
        "r.yaml:6 'measure.generation' must be left out for every task but text-generation. "
        "Got 'image-classification'."
    ]
