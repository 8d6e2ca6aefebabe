"""What a person does in the UI, in a real browser over real processes; its screenshots are the documentation's."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from openthoughts_dagster.cli import main as openthoughts
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.e2e.conftest import Live
from openthoughts_dagster_tests.e2e.servers import backfill, graphql, wait_for
from openthoughts_dagster_tests.e2e.small_recipe import NEW_TEACHER

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """A page of the deployment's UI, and where its pictures go."""

    def __init__(self, page: Any, address: str, pictures: Path) -> None:
        self.page, self._address, self._pictures = page, address, pictures
        pictures.mkdir(parents=True, exist_ok=True)

    def open(self, path: str, shows: str) -> None:
        """Go to a page and wait until it shows a text."""
        self.page.goto(f"{self._address}{path}")
        self.text(shows).wait_for()

    def text(self, text: str, exact: bool = False) -> Any:
        """The first visible place of a text."""
        return self.page.get_by_text(text, exact=exact).filter(visible=True).first

    def choose(self, dimension: int, partition: str) -> None:
        """Pick a partition in the dialog's list of one dimension."""
        self.page.get_by_text("Select a partition or create one").nth(dimension).click()
        self.page.get_by_text(partition, exact=True).filter(visible=True).last.click()
        self.text("Launch runs to materialize").click()  # closes the list

    def picture(self, name: str) -> None:
        """Keep what the page shows."""
        self.page.wait_for_timeout(500)  # animations
        self.page.screenshot(path=self._pictures / f"{name}.png")


@pytest.fixture(scope="module")
def browser(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    skip_without("chromium", CHROMIUM is not None, "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    pictures = Path(os.environ.get("OPENTHOUGHTS_SCREENSHOTS") or tmp_path_factory.mktemp("pictures"))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = chromium.new_page(viewport={"width": 1500, "height": 900})
        page.set_default_timeout(60_000)
        yield Browser(page, live.address, pictures)
        chromium.close()


def test_a_source_is_materialized_from_its_assets_page(live: Live, browser: Browser) -> None:
    before, version = live.times_made("raw_sources"), live.versions("raw_sources", "shop-sums")
    browser.open("/assets/raw_sources?view=partitions", "Materialized (")
    browser.page.get_by_role("button", name="Materialize").first.click()
    browser.text("Launch runs to materialize raw_sources").wait_for()
    browser.choose(0, "shop-sums")
    browser.picture("materialize")
    browser.page.get_by_role("button", name="Launch").last.click()
    more = before | {"shop-sums": before["shop-sums"] + 1}
    wait_for(lambda: live.times_made("raw_sources") == more, 120, f"the run; {live.log()}")
    assert live.versions("raw_sources", "shop-sums") == version  # the same content: nothing downstream moves

    browser.open("/assets/raw_sources?view=partitions&partition=shop-sums", "rows_in")
    browser.picture("raw_sources")


def test_one_teacher_is_backfilled_over_all_sources_from_the_launch_dialog(live: Live, browser: Browser) -> None:
    sources = live.instance.get_dynamic_partitions("source")
    others = {cell: n for cell, n in live.times_made("teacher_answers").items() if not cell.endswith(NEW_TEACHER)}
    assert not any(cell.endswith(NEW_TEACHER) for cell in live.materialized("teacher_answers"))
    browser.open("/assets/teacher_answers?view=partitions", "Materialized (")
    browser.page.get_by_role("button", name="Materialize").first.click()
    browser.text("Launch runs to materialize teacher_answers").wait_for()
    browser.page.get_by_role("button", name="All", exact=True).first.click()
    browser.choose(0, NEW_TEACHER)
    browser.text(f"{len(sources)} partitions").wait_for()
    browser.picture("backfill_dialog")
    browser.page.get_by_role("button", name="Launch").last.click()

    wanted = {f"{source}|{NEW_TEACHER}" for source in sources}
    wait_for(lambda: bool(_backfills(live, wanted)), 60, "the backfill")
    [launched] = _backfills(live, wanted)
    browser.open(f"/runs/b/{launched}", "teacher_answers")
    browser.picture("backfill_running")
    wait_for(lambda: _succeeded(live, launched), 240, f"the backfill's end; {live.log()}")
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
    browser.page.set_viewport_size({"width": 2200, "height": 1000})  # all of the graph
    browser.open("/assets/teacher_answers?view=lineage", "deduped_questions")
    browser.page.get_by_role("button", name="All", exact=True).first.click()
    browser.text("raw_sources").wait_for()
    wait_for(lambda: browser.page.get_by_text("Loading").filter(visible=True).count() == 0, 60, "the whole graph")
    browser.picture("graph")
    browser.page.set_viewport_size({"width": 1500, "height": 900})


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
