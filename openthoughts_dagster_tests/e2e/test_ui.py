"""What a person does in the UI, in a real browser over real processes."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from openthoughts_dagster.cli import main as openthoughts
from openthoughts_dagster.cli.local_runs import run_here
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.jobs import RELEASE
from openthoughts_dagster.lake import STUDY_RESULTS
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.e2e.browser import CHROMIUM, Browser, browser_at
from openthoughts_dagster_tests.e2e.conftest import Live
from openthoughts_dagster_tests.e2e.servers import backfill, graphql, wait_for
from openthoughts_dagster_tests.e2e.small_recipe import NEW_TEACHER


@pytest.fixture(scope="module")
def browser(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    skip_without("chromium", CHROMIUM is not None, "apt-get install chromium")
    pictures = Path(os.environ.get("OPENTHOUGHTS_SCREENSHOTS") or tmp_path_factory.mktemp("pictures"))
    with browser_at(live.address, pictures) as browser:
        yield browser


def test_a_source_is_materialized_from_its_assets_page(live: Live, browser: Browser) -> None:
    before, version = live.times_made("raw_sources"), live.versions("raw_sources", "shop-sums")
    browser.open_launch_dialog("raw_sources")
    browser.choose(0, "shop-sums")
    browser.picture("materialize")
    browser.launch()
    more = before | {"shop-sums": before["shop-sums"] + 1}
    wait_for(lambda: live.times_made("raw_sources") == more, 120, "the run", live.log)
    assert live.versions("raw_sources", "shop-sums") == version  # the same content: nothing downstream moves

    browser.open("/assets/raw_sources?view=partitions&partition=shop-sums", "rows_in")
    browser.picture("raw_sources")


def test_one_teacher_is_backfilled_over_all_sources_from_the_launch_dialog(live: Live, browser: Browser) -> None:
    sources = live.instance.get_dynamic_partitions("source")
    others = {cell: n for cell, n in live.times_made("teacher_answers").items() if not cell.endswith(NEW_TEACHER)}
    assert not any(cell.endswith(NEW_TEACHER) for cell in live.materialized("teacher_answers"))
    browser.open_launch_dialog("teacher_answers")
    browser.choose_teacher(NEW_TEACHER)
    browser.text(f"{len(sources)} partitions").wait_for()
    browser.picture("backfill_dialog")
    browser.launch()

    wanted = {f"{source}|{NEW_TEACHER}" for source in sources}
    wait_for(lambda: bool(_backfills(live, wanted)), 60, "the backfill")
    [launched] = _backfills(live, wanted)
    browser.open(f"/runs/b/{launched}", "teacher_answers")
    browser.picture("backfill_running")
    wait_for(lambda: _succeeded(live, launched), 240, "the backfill's end", live.log)
    browser.open(f"/runs/b/{launched}", "Completed")
    browser.picture("backfill")

    now = live.times_made("teacher_answers")
    assert {cell for cell in now if cell.endswith(NEW_TEACHER)} == wanted
    assert {cell: count for cell, count in now.items() if cell not in wanted} == others
    browser.open("/assets/teacher_answers?view=partitions", f"Materialized ({len(now)})")
    browser.text("shop-sums").click()
    browser.text(NEW_TEACHER, exact=True).wait_for()
    browser.picture("partitions")


def test_a_runs_log_and_a_partitions_pictures_and_tables_are_shown(live: Live, browser: Browser) -> None:
    [run] = live.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": f"shop-sums|{NEW_TEACHER}"}))
    browser.open(f"/runs/{run.run_id}", "RUN_SUCCESS")
    browser.picture("run")
    browser.open("/assets/student_checkpoint?view=partitions&partition=shop-sums%7Cworked", "[Show Markdown]")
    browser.text("[Show Markdown]").click()
    browser.page.locator("img[src^='data:image/png']").first.wait_for()
    browser.picture("loss_curve")
    browser.open("/automation", "source_landing_sensor")
    browser.picture("automation")
    browser.open_graph()
    browser.picture("graph")


def test_an_assets_page_describes_its_columns_and_a_rankings_page_shows_rounded_scores(browser: Browser) -> None:
    browser.open("/assets/benchmark_scores", "untrained_score")
    browser.text("benchmark_scores.py").wait_for()
    browser.picture("columns")
    browser.open("/assets/source_ranking?view=events", "next below")
    browser.text("%").wait_for()
    browser.picture("source_ranking")


def test_a_release_shows_its_funnel_and_what_its_gates_found(live: Live, browser: Browser) -> None:
    made = run_here(build_definitions(live.recipe, live.settings), live.instance, RELEASE, "worked")
    assert made.problem == ""
    browser.open("/assets/reasoning_dataset?view=partitions&partition=worked", "answers_by_step")
    browser.text("[Show Markdown]").click()  # of the funnel
    browser.page.locator("img[src^='data:image/png']").first.wait_for()
    browser.picture("release")
    browser.open("/assets/reasoning_dataset?view=checks", "release_licences_agree")
    browser.text("release_has_no_personal_data").wait_for()
    browser.picture("gates")


@pytest.mark.faults
def test_a_study_is_launched_watched_and_its_report_opened(live: Live, browser: Browser) -> None:
    for job, asset, keys in (
        ("study_answers", "arm_answers", {"sizes.as-the-cell", "sizes.fewer"}),
        ("study_students", "arm_scores", {"sizes.as-the-cell.0", "sizes.fewer.0"}),
        ("study_decision", "study_results", {"sizes"}),
    ):
        browser.open_job(job)
        browser.page.get_by_role("button", name="All", exact=True).first.click()
        browser.picture(job)
        browser.launch()
        wait_for(lambda asset=asset, keys=keys: live.materialized(asset) == keys, 240, asset, live.log)  # type: ignore[misc]
    [run] = live.instance.get_runs(dg.RunsFilter(job_name="study_decision"))
    browser.open(f"/runs/{run.run_id}", "RUN_SUCCESS")
    browser.picture("study_run")

    [decision] = set(live.lake.scan(STUDY_RESULTS).collect()["decision"])
    browser.open("/assets/study_results?view=partitions&partition=sizes", decision)
    browser.text("chance_best").wait_for()  # the table of arms
    browser.text("as-the-cell").wait_for()
    browser.text("[Show Markdown]").click()
    browser.page.locator("img[src^='data:image/png']").first.wait_for()
    browser.picture("study_results")
    assert browser.open_file(live.data / "studies" / "sizes" / "report.html", decision) == []
    assert browser.page.locator("svg").count() == 1
    browser.picture("study_report", whole=True)


def test_a_person_trains_and_scores_a_student_of_the_new_teacher(live: Live, browser: Browser) -> None:
    cell = f"two-digit-sums|{NEW_TEACHER}"
    backfill(live.address, ["student_checkpoint", "benchmark_scores"], [cell], 120)
    assert cell in live.materialized("benchmark_scores")


def test_the_command_line_launches_a_backfill_and_shows_the_state(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in live.environment.items():
        monkeypatch.setenv(name, value)
    arguments = ["backfill", "--teacher", "direct", "--source", "two-digit-sums", "--ui", live.address, "--yes"]
    launched = CliRunner().invoke(openthoughts, arguments)
    assert launched.exit_code == 0 and "0 completions to generate" in launched.output, launched.output
    [known] = _backfills(live, {"two-digit-sums|direct"})
    assert launched.output.strip().endswith(f"{live.address}/runs/b/{known}")
    assert "by direct" in CliRunner().invoke(openthoughts, ["status"]).output


def _backfills(live: Live, cells: set[str]) -> list[str]:
    """Ids of the backfills of exactly these cells."""
    query = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id partitionNames } } } }"
    found = graphql(live.address, query)["partitionBackfillsOrError"]["results"]
    return [str(backfill["id"]) for backfill in found if set(backfill["partitionNames"] or ()) == cells]


def _succeeded(live: Live, backfill_id: str) -> bool:
    query = "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
    status = str(graphql(live.address, query, id=backfill_id)["partitionBackfillOrError"]["status"])
    assert status not in ("FAILED", "COMPLETED_FAILED", "CANCELED"), status
    return status == "COMPLETED_SUCCESS"
