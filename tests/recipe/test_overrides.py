from compress.recipe.load import load_recipe


def value(path, *overrides):
    return load_recipe(path, overrides=overrides)


def test_a_key_that_the_recipe_left_at_its_default(good):
    assert value(good, "measure.threads=2").measure.threads == 2
    assert value(good, "seed=7").seed == 7


def test_stages_by_number_by_use_and_by_name(good):
    for way in ("stages.1", "stages[1]", "stages.prune"):
        recipe = value(good, f"{way}.target.macs=0.25")
        assert recipe.stages[1].stage.target.macs == 0.25
    named = value(good, "stages.prune.name=cut", "stages.cut.target.macs=0.3")
    assert named.stages[1].name == "cut"
    assert named.stages[1].stage.target.macs == 0.3


def test_a_stage_named_twice_needs_its_number(problems):
    twice = ("  - use: quantize\n", "  - use: prune\n    name: b\n    target: {macs: 0.5}\n")
    found = problems(replace=twice, overrides=("stages.prune.target.macs=0.4",))
    assert found == [
        "--set stages.prune.target.macs=0.4 2 stages have 'use' 'prune'; "
        "say which: stages.1, stages.2."
    ]


def test_a_whole_mapping_is_replaced(good):
    recipe = value(
        good, "data={python: 'compress.data.sources.idx:read'}", "stages.prune.target={params: 0.5}"
    )
    assert recipe.data.sklearn is None
    assert recipe.stages[1].stage.target.params == 0.5


def test_list_items_by_number(good):
    recipe = value(good, "measure.batch_sizes=[1, 8]", "measure.batch_sizes.1=16")
    assert recipe.measure.batch_sizes == (1, 16)


def test_later_overrides_win(good):
    assert value(good, "seed=1", "seed=2").seed == 2


def test_null_takes_a_default_away_and_a_key_below_it_comes_back(good):
    assert value(good, "stages.prune.recovery=null").stages[1].stage.recovery is None
    again = value(good, "stages.prune.recovery=null", "stages.prune.recovery.training.epochs=9")
    assert again.stages[1].stage.recovery.training.epochs == 9


def test_problems_are_located_at_the_override_and_come_last(problems):
    found = problems(
        replace=("name: digits", "nam: digits"),
        overrides=("stages.prune.target.mac=0.4", "gaets.speedup=2", "measure.threads=0"),
    )
    assert found[0].startswith("r.yaml:1 'name' is missing.")
    assert found[1].startswith("r.yaml:2 unknown key 'nam'.")
    assert found[2:] == [
        "--set stages.prune.target.mac=0.4 stages[1] (prune): in 'target': unknown key 'mac'. "
        "Known: latency, macs, params, size. Did you mean 'macs'?",
        "--set gaets.speedup=2 unknown key 'gaets'. Known: data, gates, measure, model, name, "
        "report, seed, stages, task, version. Did you mean 'gates'?",
        "--set measure.threads=0 'measure.threads' must be an int in [1, 1024]. Got 0.",
    ]


def test_a_problem_of_several_keys_is_located_at_the_override_among_them(problems):
    assert problems(overrides=("stages.prune.target.params=0.4",)) == [
        "--set stages.prune.target.params=0.4 stages[1] (prune): 'target': "
        "exactly one of macs, params, size, latency must be given. Got macs and params."
    ]


def test_overrides_that_lead_nowhere(problems):
    found = problems(
        overrides=(
            "seed",
            "a..b=1",
            "name.x=1",
            "stages.8.target=1",
            "stages.prun.target=1",
            "stages.prune.target=[1",
        )
    )
    assert found == [
        "--set seed an override must be key=value, such as stages.prune.target.macs=0.5.",
        "--set a..b=1 an override must be key=value, such as stages.prune.target.macs=0.5.",
        "--set name.x=1 'name' must be a mapping, to have a key 'x'. Got 'digits'.",
        "--set stages.8.target=1 'stages' has 4 item(s), numbered from 0: there is no 8.",
        "--set stages.prun.target=1 unknown stage 'prun'. Known: export, prune, quantize, train. "
        "Did you mean 'prune'?",
        "--set stages.prune.target=[1 the value '[1' can't be read: this isn't YAML: "
        "expected ',' or ']', but got '<stream end>'.",
    ]
