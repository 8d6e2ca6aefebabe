"""Writes the model card of a student: the README.md in its folder, which the Hugging Face hub shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.recipe import Student, identity_of
from openthoughts_dagster.training.run_report import Trained

CARD = "README.md"


SCORES = "scores.md"
"""The file beside the card with the student's scores, once it was scored. It is no part of the model's identity."""


@dataclass(frozen=True)
class SourceRows:
    """How many rows of a training are from a source under a licence."""

    source: str
    licence: str
    rows: int


def model_card(student: Student, base: Model, trained: Trained, sources: Sequence[SourceRows] = ()) -> str:
    """Return base model, data, settings and loss of a student as markdown.

    It contains no folder and no time, so that the same student has the same page wherever it was trained.
    """
    settings = {"seed": student.seed, "too_long": student.too_long, **identity_of(student.settings())}
    known = f"{base.identity.model_id}, revision {base.identity.revision}"
    weights = f"a folder with the content {base.identity.revision}" if base.identity.local else known
    front = ["library_name: transformers", "pipeline_tag: text-generation", "tags: [sft, trl, reasoning]"]
    if not base.identity.local:
        front.insert(0, f"base_model: {base.identity.model_id}")
    return "\n".join(
        [
            *("---", *front, "---", f"# {student.name} {trained.fingerprint[:12]}", ""),
            "Fine-tuned on answers of a teacher with openthoughts-dagster.",
            "",
            f"- Base weights: {weights}",
            f"- Rows: {trained.rows:,}, of which {trained.cut_rows:,} without their end; "
            f"{trained.dropped_rows:,} more were dropped",
            f"- Tokens: {trained.train_tokens:,} in {trained.steps:,} steps",
            f"- Chat template that rendered the rows: {trained.template}",
            f"- Loss: {trained.losses[0][1]:.3f} at first, {trained.losses[-1][1]:.3f} at last",
            *("", "| setting | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in settings.items())),
            *("", *_data_table(sources)),
            *("", f"Its scores are in `{SCORES}` beside this file, once it was scored.", ""),
        ]
    )


def scores_page(rows: Sequence[tuple[str, float, float | None, float]], title: str) -> str:
    """Return the scores of a student as markdown, for the file `scores.md` in its folder.

    Args:
        rows: Benchmark, score, standard error (None for a single item), and the score before training; from 0 to 1.
        title: The name of the student.
    """
    lines = [
        f"| {_cell(name)} | {score:.1%}{'' if error is None else f' +- {error:.1%}'} | {before:.1%} |"
        for name, score, error, before in rows
    ]
    return "\n".join(
        [f"# Scores of {title}", "", "| benchmark | score | before training |", "|---|---|---|", *lines, ""]
    )


def _data_table(sources: Sequence[SourceRows]) -> list[str]:
    if not sources:
        return ["The licences of the data are in the tables of the lake that made it."]
    lines = [f"| {_cell(each.source)} | {_cell(each.licence)} | {each.rows:,} |" for each in sources]
    return ["| data | licence | rows |", "|---|---|---|", *lines]


def _cell(text: str) -> str:
    """Return a text of a source as one cell of a table, without markup of its own."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"&#{ord(character)};")
    return " ".join(text.split())
