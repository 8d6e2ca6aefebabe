"""Takes the pictures of README and docs from what `make demo` made: .venv/bin/python docs/images/take_pictures.py

Needs Chromium, and a quickstart that ran to its end in OPENTHOUGHTS_DATA (./data). One source is materialized again and
one teacher is backfilled on the way, which generates nothing: everything is in the ledger.
"""

import tempfile
from pathlib import Path

from openthoughts_dagster.defs.settings import Settings, dagster_home
from openthoughts_dagster_tests.e2e.browser import Browser, browser_at
from openthoughts_dagster_tests.e2e.servers import Deployment, graphql, wait_for

SOURCE, TEACHER = "two-digit-sums", "direct"
CELL = f"{SOURCE}%7C{TEACHER}"


def _backfills(address: str) -> dict[str, str]:
    query = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"
    found = graphql(address, query)["partitionBackfillsOrError"]["results"]
    return {str(backfill["id"]): str(backfill["status"]) for backfill in found}


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
        _take_pages(browser)
        _take_launches(browser, deployment.address)


if __name__ == "__main__":
    main()
