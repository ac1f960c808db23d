"""Hostile names, labels and notes are texts in every report and card, and nothing else."""

import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from ruamel.yaml import YAML

from compress.cli import main
from compress.core.notes import careful
from compress.data.sources.local_folder import front_matter
from compress.measurement.results import Latency, Quality
from compress.models.folder.license import stated_license
from compress.models.spec import ModelSpec
from compress.report.comparison.compare import compare
from compress.report.comparison.documents import comparison_html, comparison_markdown
from compress.report.comparison.runs import read_runs
from compress.report.comparison.terminal import show_comparison
from compress.report.document import Report, Row
from compress.report.html import html
from compress.report.kept.answers import Confusion, Disagreement, Disagreements
from compress.report.markdown import escape, markdown
from compress.report.model_card import model_card
from compress.report.progress import Bars, Lines
from compress.report.terminal import render

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b | c",
    "[here](javascript:alert(1))",
    "![seen](http://host/pixel.png)",
    "http://host/page www.host.org",
    "# A heading",
    "---\nname: other\n---",
    "line\r\n\r\n# next",
    "`code` ```\nfence",
    "\x1b[2J\x1b]0;title\x07red",
    "\x9b31m",
    "[red]markup[/red] [link=http://host]x[/link]",
    "\u202egpj.exe\u2066",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;script&gt;",
    "**bold** _line_ ~~gone~~",
    "]]></style><script>x</script>",
]
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False}).disable("linkify")
STEERING = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e", "\u2066"} - {"\n"}


def report_with(text: str) -> Report:
    row = Row(
        index=0,
        name=text,
        params=1,
        macs=1,
        size_bytes=1,
        quality=Quality(metric=text, value=0.5, ci95=(0.4, 0.6), samples=4),
        latency_ms={"1": Latency(p50=1, p95=2)},
        notes=[text, careful(text)],
        widths={text: 1},
        noise={text: 1.0},
        recall={text: 0.5},
    )
    last = row.model_copy(update={"index": 1, "widths": {text: 2}, "recall": {text: 0.4}})
    told = Disagreement(place=0, label=text, reference=text, final=text, text=text)
    confusion = Confusion(classes=[text], of=1, reference=[[1, 0]], final=[[0, 1]])
    environment = {"cpu": text, text: text, "threads": 1}
    return Report(
        name="small",
        status="passed",
        stages=[row, last],
        notes=[text],
        environment=environment,
        recipe={"name": text, "measure": {text: [text]}, "stages": [{"use": text, "name": text}]},
        changed_keys=[text],
        confusion=confusion,
        disagreements=Disagreements(count=1, of=4, shown=[told]),
    )


def manifest_with(text: str) -> dict:
    return {
        "task": "text-classification",
        "license": text,
        "license_from": "the original model's card",
        "made_from": {
            "model": {"kind": "folder", "name": text, "revision": text, "weights_sha256": "ab"},
            "data": {"kind": "csv", "name": text, "revision": None, "fingerprint": "ab"},
            "stages": [{"name": "export", "use": "export"}],
        },
        "recipe_hash": "ab",
        "seed": 0,
        "cpu": {"target_cpu": None},
        "files": {"config.json": {}},
    }


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown(text: str) -> None:
    plain, hostile = (Tags(MARKDOWN.render(markdown(report_with(t)))) for t in ("plain", text))
    assert hostile.tags == plain.tags
    assert not STEERING & set(hostile.text)


@pytest.mark.parametrize("text", HOSTILE)
def test_an_escaped_text_is_read_as_it_was(text: str) -> None:
    found = Tags(MARKDOWN.render(f"- {escape(text)}\n"))
    assert set(found.tags) <= {"ul", "li"}
    if not STEERING & set(text):
        assert found.text.strip() == " ".join(text.split())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_model_card(text: str) -> None:
    cards = [model_card(report_with(t), manifest_with(t)) for t in ("plain", text)]
    matters = [YAML(typ="safe").load(front_matter(card)) for card in cards]
    assert matters[0].keys() == matters[1].keys()
    bodies = [card.split("\n---\n", 1)[1] for card in cards]
    plain, hostile = (Tags(MARKDOWN.render(body)) for body in bodies)
    assert hostile.tags == plain.tags
    assert not STEERING & set(cards[1])


@pytest.mark.parametrize("text", HOSTILE)
def test_html(text: str) -> None:
    plain, hostile = (Tags(html(report_with(t))) for t in ("plain", text))
    assert hostile.tags == plain.tags
    assert hostile.tags.count("script") == 1  # our own
    assert not any(name.startswith("on") for name in hostile.attributes)
    assert not STEERING & set(hostile.text)


def test_html_forbids_other_scripts_than_its_own() -> None:
    page = html(report_with("plain"))
    assert "default-src 'none'" in page
    assert page.count("script-src 'sha256-") == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal(text: str, tmp_path: Path) -> None:
    assert not STEERING & set(render(report_with(text), width=4000))
    assert "\\x1b" in render(report_with("\x1b[2J"), width=4000)
    path = tmp_path / "report.json"
    path.write_text(report_with(text).to_json().replace('"small"', json.dumps(text)))
    console = Console(file=io.StringIO(), width=4000)
    compared = compare(read_runs([path, path]))
    show_comparison(compared, console)
    assert not STEERING & set(console.file.getvalue())
    assert not STEERING & set(comparison_html(compared))
    assert not STEERING & set(comparison_markdown(compared))
    assert "<script" not in comparison_html(compared) + comparison_markdown(compared)
    if "[red]" in text:
        assert "[red]markup" in console.file.getvalue()
        assert "[red]markup" in render(report_with(text), width=4000)


@pytest.mark.parametrize("kind", [Bars, Lines])
@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_run_says(kind: type, text: str) -> None:
    console = Console(file=io.StringIO(), width=4000)
    kind(console).say(text)
    assert not STEERING & set(console.file.getvalue())


def test_what_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text('version: 1\n"\\e[2Jkey": "\\u202e"\nname: "a\\rb"\n')
    with pytest.raises(SystemExit) as ended:
        main(["check", "r.yaml"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "x1b[2Jkey" in said
    assert not STEERING & set(said)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_license_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"license": text * 200}))
    found, _ = stated_license(ModelSpec(transformers=str(tmp_path)))
    assert found is not None
    assert "\n" not in found
    assert len(found) < 300
    assert not STEERING & set(found)


@pytest.mark.parametrize("page", ["page_text", "page_image"])
def test_pages_of_a_bundle_write_texts_only(page: str) -> None:
    from importlib.resources import files

    text = (
        files("compress.exporting.examples")
        .joinpath(f"templates/javascript/{page}.html.txt")
        .read_text()
    )
    assert ".textContent = " in text
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in text
