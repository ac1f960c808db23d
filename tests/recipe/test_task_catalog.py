"""What `compress tasks` says of a task's samples and labels."""

from compress.recipe.catalog.tasks import task_catalog


def test_the_labels_of_rankings_are_said_plainly() -> None:
    lines = " ".join(" ".join(task_catalog("text-ranking")).split())
    assert (
        "columns query, documents (or a row for each of a list: query, document) labels column "
        "label: a list of a gain of at least 0 for each document, or the number, from 0, of the "
        "only relevant one; where a row has one document, its gain outputs" in lines
    )


def test_other_labels_are_as_the_outputs_roles_say() -> None:
    lines = " ".join(" ".join(task_catalog("text-regression")).split())
    assert "texts: columns text, and maybe text_pair labels column label: numbers of" in lines
