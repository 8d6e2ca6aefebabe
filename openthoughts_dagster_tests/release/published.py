"""A release as the asset reasoning_dataset leaves it: rows, funnel and a version with a folder."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from openthoughts_dagster.lake import REASONING_DATASET, REJECTED_RELEASE, RELEASE_FUNNEL, RELEASE_VERSIONS, Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release import choose_rows
from openthoughts_dagster.release.card import FUNNEL_PLOT, draw_funnel, read_card_facts, write_card
from openthoughts_dagster_tests.release.sums import TEACHER

VERSION = "0123456789ab"
HEAD = "---\nlicense: apache-2.0\n---\n"
NOTHING = pl.DataFrame(schema={"benchmark": pl.String, "question": pl.String, "split": pl.String})


def publish(lake: Lake, recipe: Recipe, folder: Path, benchmarks: pl.DataFrame | None = None) -> Path:
    """Write the tables of the release and a folder with its card; return the folder."""
    chosen = choose_rows(lake, recipe, TEACHER, benchmarks)
    for table, rows in (
        (REASONING_DATASET, chosen.rows),
        (RELEASE_FUNNEL, chosen.funnel),
        (REJECTED_RELEASE, chosen.rejected),
    ):
        lake.replace(table, rows, teacher=TEACHER)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    made_at = datetime(2026, 11, 26, 12, tzinfo=UTC)
    facts = read_card_facts(lake, recipe, TEACHER, VERSION, made_at, chosen.shortfalls, {"code": "c0ffee"})
    (folder / "README.md").write_text(HEAD + write_card(facts))
    (folder / FUNNEL_PLOT).write_text(draw_funnel(facts.funnel))
    record = {"name": "sums", "teacher": TEACHER, "version": VERSION, "code": "c0ffee"}
    (folder / "release.json").write_text(json.dumps(record))
    chosen.rows.select("position").write_parquet(folder / "data" / "train-00000-of-00001.parquet")
    row = {
        "teacher": TEACHER,
        "version": VERSION,
        "made_at": made_at,
        "path": str(folder),
        "rows": chosen.rows.height,
        "questions": chosen.rows.select("source", "question_id").unique().height,
        "record": json.dumps(record),
    }
    lake.append(RELEASE_VERSIONS, pl.DataFrame([row], schema=RELEASE_VERSIONS.schema))
    return folder
