"""What a person does in the UI: drop a source in, backfill it, look at it. Real webserver, daemon and browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.defs.demo import Outcome
from openthoughts_dagster.lake import BENCHMARK_SCORES, RAW_SOURCES, REJECTED_ANSWERS, TEACHER_ANSWERS, frame_hash
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.e2e.conftest import HOUSE, House
from openthoughts_dagster_tests.e2e.servers import backfill, dagster_dev, wait_for
from openthoughts_dagster_tests.e2e.small_recipe import with_gsm8k

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUESTIONS = ["raw_sources", "scored_questions", "deduped_questions"]
STUDENTS = ["teacher_answers", "student_checkpoint", "benchmark_scores"]


@pytest.fixture(scope="module")
def address(house: House, first_run: Outcome) -> Iterator[str]:
    """The UI over a deployment whose recipe has just got a source: a file of GSM8K questions."""
    text = house.recipe_file.read_text()
    with_gsm8k(house.recipe_file)
    try:
        with dagster_dev(HOUSE, house.environment, house.data / "ui.log") as served:
            yield served
    finally:
        house.recipe_file.write_text(text)


def test_a_file_of_gsm8k_questions_goes_through_all_six_assets(house: House, address: str) -> None:
    known = house.instance.get_dynamic_partitions
    wait_for(lambda: "gsm8k" in known("source"), 90, "the sensor that makes the new source a partition")
    others = house.lake.scan(TEACHER_ANSWERS).filter(pl.col("source") != "gsm8k")
    before = frame_hash(others.collect())

    backfill(address, QUESTIONS, ["gsm8k"], 120)
    backfill(address, STUDENTS, ["gsm8k|worked", "gsm8k|direct"], 300)

    rows = house.lake.scan(RAW_SOURCES, source="gsm8k").collect()
    assert rows.height == 40 and rows["question"][0].startswith("Natalia sold clips")
    # teachers this little trained sometimes say nothing: those answers are rejected with their reason
    kept, rejected = (house.lake.scan(table, source="gsm8k").collect() for table in (TEACHER_ANSWERS, REJECTED_ANSWERS))
    assert kept.height + rejected.height == 24 * 2 * 2 and set(rejected["reason"]) <= {"empty"}
    others = house.lake.scan(TEACHER_ANSWERS).filter(pl.col("source") != "gsm8k")
    assert frame_hash(others.collect()) == before  # no other partition moved
    assert house.lake.scan(BENCHMARK_SCORES, source="gsm8k").collect().height == 2 * 20


def test_the_ui_shows_the_assets_and_which_partitions_are_there(house: House, address: str, tmp_path: Path) -> None:
    skip_without("chromium", CHROMIUM is not None, "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    pictures = Path(os.environ.get("OPENTHOUGHTS_SCREENSHOTS", tmp_path))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.goto(f"{address}/assets/teacher_answers?view=partitions")
        page.get_by_text("Materialized (").wait_for(timeout=60_000)
        page.get_by_text("shop-sums").first.wait_for()
        page.screenshot(path=pictures / "partitions.png")
        assert page.get_by_text("worked", exact=True).count() >= 1
        page.goto(f"{address}/assets/student_checkpoint?view=partitions&partition=shop-sums%7Cworked")
        page.get_by_text("[Show Markdown]").first.click()
        page.locator("img[src^='data:image/png']").first.wait_for()
        page.screenshot(path=pictures / "loss_curve.png")
        browser.close()
