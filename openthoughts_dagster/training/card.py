"""Writes the model card of a student: the README.md in its folder, which the Hugging Face hub shows."""

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.recipe import Student, identity_of
from openthoughts_dagster.training.run_report import Trained

CARD = "README.md"


def model_card(student: Student, base: Model, trained: Trained) -> str:
    """Return base model, rows, settings and loss curve of a student as markdown.

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
            *("", "Licences of the data and scores are in the tables of the lake that made it.", ""),
        ]
    )
