"""The subcommands and their options. A subcommand imports what it needs when it is called."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from compress.cli.silence import silence_libraries
from compress.core.shown import shown
from compress.errors import ExitCode, unknown

DEBUG = "--debug"


class Device(StrEnum):
    """The device of training."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Commands(TyperGroup):
    """A group of subcommands that takes an unknown first word for the recipe of `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` in front of a recipe or of its options."""
        own = {option for param in self.get_params(ctx) for option in param.opts}
        if args and args[0] not in own and args[0] not in self.commands:
            self._refuse_mistyped(ctx, args[0])
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def _refuse_mistyped(self, ctx: Any, word: str) -> None:
        if word.isalpha() and not Path(word).exists():
            known = unknown("command", word, self.commands)
            ctx.fail(f"{known} (There is no recipe file {word!r} either.)")


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in YAML.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the recipe, such as stages.prune.target.macs=0.4. May be repeated.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="DIR", help="Folder of the results [default: exports/<name>]"),
]
NoPython = Annotated[
    bool, typer.Option("--no-python", help="Refuse a recipe that names Python functions to call.")
]
Debug = Annotated[bool, typer.Option(DEBUG, help="Show tracebacks and libraries' messages.")]


CallSeconds = Annotated[
    float,
    typer.Option(
        "--call-seconds", min=0.1, max=86400, help="Time limit of a single call into a model."
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"compress {version('compress')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def compress(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Compress a trained model by a recipe, and measure it after every stage.

    "compress recipe.yaml" is short for "compress run recipe.yaml".
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.WRONG_INPUT)


@app.command()
def run(
    context: typer.Context,
    recipe: RecipeFile,
    overrides: Overrides = None,
    output: Output = None,
    device: Annotated[Device, typer.Option(help="Device of training.")] = Device.AUTO,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of training [default: all CPUs]")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget an earlier run's stages.")] = False,
    github: Annotated[
        bool,
        typer.Option("--github", help="Also write to the step summary of GitHub Actions."),
    ] = False,
    no_python: NoPython = False,
    debug: Debug = False,
    verbose: Annotated[
        bool | None,
        typer.Option(
            "--verbose/--quiet", "-v/-q", help="Also show libraries' messages, or only errors."
        ),
    ] = None,
) -> None:
    """Run a recipe. Stages that an earlier run finished are taken from disk.

    Exit codes: 0 passed, 1 a gate failed, 2 the recipe is wrong, 3 the run failed, 130 interrupted.
    """
    from compress.cli.running import run_recipe
    from compress.recipe.load import load_recipe

    if not (debug or verbose):
        silence_libraries()
    code = run_recipe(
        load_recipe(recipe, overrides=overrides or [], python=not no_python),
        output=output,
        device=device.value,
        threads=threads,
        fresh=fresh,
        python=not no_python,
        quiet=verbose is False,
        github=github,
        call=context.obj,
    )
    raise typer.Exit(code)


@app.command()
def init(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A folder with config.json, an ONNX file, package.module:function, or a hub id.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="DATA", help="A file or folder of samples, or a data set of the hub."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="[default: as both tell]")
    ] = None,
    goal: Annotated[
        str | None,
        typer.Option(
            "--goal", metavar="4x", help="How many times smaller. [default: quantization alone]"
        ),
    ] = None,
    overrides: Overrides = None,
    file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The recipe to write.")
    ] = Path("recipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
    debug: Debug = False,
) -> None:
    """Write a first recipe for a model, with what was guessed in comments."""
    from compress.cli.drafting import write_draft

    write_draft(
        model, data=data, task=task, goal=goal, overrides=overrides or [], file=file, force=force
    )


@app.command()
def check(
    recipe: RecipeFile,
    overrides: Overrides = None,
    output: Output = None,
    data: Annotated[
        bool,
        typer.Option(
            "--data",
            help="Also load model and data, and try a few rows in every split and stage.",
        ),
    ] = False,
    no_python: NoPython = False,
    debug: Debug = False,
) -> None:
    """Show what a recipe would do, or all of its problems."""
    from compress.recipe.load import load_recipe
    from compress.recipe.plan import describe

    found = load_recipe(recipe, overrides=overrides or [], python=not no_python)
    for line in describe(found, output=output):
        typer.echo(shown(line))
    if data:
        from compress.cli.trying import try_recipe

        if not debug:
            silence_libraries()
        try_recipe(found, output=output)


@app.command()
def stages(
    stage: Annotated[
        str | None, typer.Argument(metavar="[STAGE]", help="The only stage to show.")
    ] = None,
    debug: Debug = False,
) -> None:
    """List the installed stages and their fields."""
    from compress.recipe.catalog.stages import catalog

    typer.echo("\n".join(catalog(stage)))


@app.command()
def tasks(
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="The only task to show.")
    ] = None,
    debug: Debug = False,
) -> None:
    """List the installed tasks: their samples, labels, outputs, metrics and stages."""
    from compress.recipe.catalog.tasks import task_catalog

    typer.echo("\n".join(map(shown, task_catalog(task))))


@app.command()
def schema(
    report: Annotated[
        bool, typer.Option("--report", help="Print the schema of report.json instead.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print the JSON schema of recipes, for editors."""
    from compress.recipe.json_schema import recipe_schema
    from compress.report.document import report_schema

    typer.echo(json.dumps(report_schema() if report else recipe_schema(), indent=2))


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="exports/<name> or a report.json.")
    ],
    document: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures there.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Also write Markdown there.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page there.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Compare runs, row by row, with those of the first.

    Differences of quality are tested on the samples that both answered; the recipes' differences
    are listed.
    """
    from compress.cli.rendering import compare_runs

    compare_runs(runs, document=document, markdown=markdown, html=html)


@app.command(name="eval")
def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")],
    recipe: Annotated[
        Path, typer.Option("--recipe", metavar="RECIPE", help="Recipe whose data is measured on.")
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Folder of the result [default: exports/<name>-<file>]"
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of quality [default: all CPUs]")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget an earlier result.")] = False,
    no_python: NoPython = False,
    debug: Debug = False,
) -> None:
    """Measure an ONNX file as one row, on a recipe's test data; "compare" takes the result.

    Only the recipe's data, task and measurements count. The model's own keys, such as
    model.preprocessing and model.inputs, are set by --set.
    """
    from compress.cli.running import run_recipe
    from compress.recipe.load import evaluation_of

    if not debug:
        silence_libraries()
    found = evaluation_of(model, recipe, overrides=overrides or [], python=not no_python)
    code = run_recipe(
        found,
        output=output,
        device="cpu",
        threads=threads,
        fresh=fresh,
        python=not no_python,
        quiet=False,
        call=context.obj,
    )
    raise typer.Exit(code)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="exports/<name> or a report.json.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Folder of the files [default: that of the report]"
        ),
    ] = None,
    github: Annotated[
        bool,
        typer.Option("--github", help="Also write to the step summary of GitHub Actions."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Render a run's report again, from report.json alone: here, as report.md and report.html."""
    from compress.cli.rendering import render_again

    render_again(run, output=output, github=github)


@app.command()
def verify(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="exports/<name>, or a copy of its bundle.")
    ],
    call_seconds: CallSeconds = 15.0,
    debug: Debug = False,
) -> None:
    """Check that a bundle is whole, gives the same answers as when published, and suits this CPU.

    Exit codes: 0 all checks passed, 1 a check failed, 2 it is no bundle.
    """
    from compress.cli.verifying import verify as verified

    raise typer.Exit(verified(bundle, call_seconds=call_seconds))


@app.command()
def bench(
    context: typer.Context,
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="ONNX files; the first is the baseline."),
    ],
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            "--batch-sizes", metavar="N,N", help="[default: 1,32, or the only one a file takes]"
        ),
    ] = None,
    threads: Annotated[
        str, typer.Option(metavar="N,N", help="Threads of ONNX Runtime; each number is timed.")
    ] = "1",
    seconds: Annotated[float, typer.Option(min=0.01, help="Least time for each batch size.")] = 5.0,
    length: Annotated[
        int,
        typer.Option(min=1, max=10**6, help="Tokens of a text, if the file leaves that open."),
    ] = 128,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="AXIS=SIZE", help="Size of another open axis. May be repeated."
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="FILE.npz",
            help="Real inputs instead of random ones, such as a bundle's samples.npz.",
        ),
    ] = None,
    document: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures there.")
    ] = None,
    call_seconds: CallSeconds = 15.0,
    debug: Debug = False,
) -> None:
    """Time ONNX files side by side: latency, throughput and speedup, with 95 % intervals."""
    from compress.cli.benching import BenchOptions, bench_models

    asked = BenchOptions(
        batch_sizes, threads, seconds, length, sizes or [], inputs, document, call_seconds
    )
    bench_models(models, asked, context.obj)
