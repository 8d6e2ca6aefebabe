"""Takes the pictures of README and docs from what `make demo` made: .venv/bin/python docs/images/take_pictures.py

Needs Chromium, and a quickstart that ran to its end in OPENTHOUGHTS_DATA (./data), with `make demo-studies`. One
source is materialized again, one teacher is backfilled and one study is decided on the way, which generates nothing:
everything is in the ledger. With the argument `study` it takes the pictures of the study alone.
"""

import sys
import tempfile
from pathlib import Path

from openthoughts_dagster.defs.settings import Settings, dagster_home
from openthoughts_dagster_tests.e2e.browser import Browser, browser_at
from openthoughts_dagster_tests.e2e.servers import Deployment, graphql, wait_for

SOURCE, TEACHER, STUDY = "two-digit-sums", "direct", "questions-by-answers"
CELL = f"{SOURCE}%7C{TEACHER}"


def _backfills(address: str) -> dict[str, str]:
    query = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"
    found = graphql(address, query)["partitionBackfillsOrError"]["results"]
    return {str(backfill["id"]): str(backfill["status"]) for backfill in found}


def _newest_run(address: str) -> str | None:
    """The id of the newest run, if it has succeeded."""
    query = "{ runsOrError(limit: 1) { ... on Runs { results { id status } } } }"
    [run] = graphql(address, query)["runsOrError"]["results"]
    return str(run["id"]) if run["status"] == "SUCCESS" else None


def _take_pages(browser: Browser) -> None:
    browser.open_graph()
    browser.picture("graph")
    browser.open("/assets/teacher_answers?view=partitions", "Materialized (")
    browser.text(SOURCE).click()
    browser.text(TEACHER, exact=True).wait_for()
    browser.picture("partitions")
    browser.open(f"/assets/raw_sources?view=partitions&partition={SOURCE}", "rows_in")
    browser.picture("raw_sources")
    browser.open("/assets/benchmark_scores", "untrained_score")
    browser.picture("columns")
    browser.open("/assets/source_ranking?view=events", "next below")
    browser.picture("source_ranking")
    browser.open("/automation", "source_landing_sensor")
    browser.picture("automation")


def _take_launches(browser: Browser, address: str) -> None:
    browser.open_launch_dialog("raw_sources")
    browser.choose(0, SOURCE)
    browser.picture("materialize")
    before = set(_backfills(address))
    browser.open_launch_dialog("teacher_answers")
    browser.choose_teacher(TEACHER)
    browser.picture("backfill_dialog")
    browser.launch()
    wait_for(lambda: bool(set(_backfills(address)) - before), 60, "the backfill")
    [launched] = set(_backfills(address)) - before
    wait_for(lambda: _backfills(address)[launched] == "COMPLETED_SUCCESS", 600, "the backfill's end")
    browser.open(f"/runs/b/{launched}", "Completed")
    browser.picture("backfill")


def _take_study(browser: Browser, address: str, data: Path) -> None:
    """Let the study be decided again from the scores that are there, and open its report."""
    earlier = _newest_run(address)
    browser.open_job("study_decision")
    browser.choose(0, STUDY)
    browser.picture("study_launch")
    browser.launch()
    wait_for(lambda: _newest_run(address) not in (earlier, None), 600, "the decision")
    browser.page.set_viewport_size({"width": 1900, "height": 1100})
    browser.open(f"/assets/study_results?view=partitions&partition={STUDY}", "decision")
    browser.picture("study_results")
    browser.open_file(data / "studies" / STUDY / "report.html", "What to change in the recipe")
    browser.picture("study_report", whole=True)


def main() -> None:
    """Start the UI on the data, and take every picture."""
    settings = Settings.from_environment()
    environment = {
        "OPENTHOUGHTS_DATA": str(settings.data),
        "DAGSTER_HOME": str(dagster_home(settings).resolve()),
        "HF_HUB_OFFLINE": "1",
    }
    with (
        tempfile.TemporaryDirectory() as logs,
        Deployment(environment, Path(logs)) as deployment,
        browser_at(deployment.address, Path(__file__).parent) as browser,
    ):
        if sys.argv[1:] != ["study"]:
            _take_pages(browser)
            _take_launches(browser, deployment.address)
        _take_study(browser, deployment.address, settings.data)


if __name__ == "__main__":
    main()
