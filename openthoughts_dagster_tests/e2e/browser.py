"""A real browser on a deployment's UI: what tests click, and what the documentation's pictures are taken of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTH, HEIGHT = 1500, 900


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

    def open_launch_dialog(self, asset: str) -> None:
        """Open the dialog in which partitions of an asset are picked."""
        self.open(f"/assets/{asset}?view=partitions", "Materialized (")
        self.page.get_by_role("button", name="Materialize").first.click()
        self.text(f"Launch runs to materialize {asset}").wait_for()

    def choose(self, dimension: int, partition: str) -> None:
        """Pick a partition in the dialog's list of one dimension."""
        self.page.get_by_text("Select a partition").nth(dimension).click()  # "or create one", of dynamic partitions
        self.page.get_by_text(partition, exact=True).filter(visible=True).last.click()
        self.text("Launch runs to materialize").click()  # closes the list

    def choose_teacher(self, teacher: str) -> None:
        """Pick all sources and one teacher in the dialog of an asset of cells."""
        self.page.get_by_role("button", name="All", exact=True).first.click()
        self.choose(0, teacher)

    def launch(self) -> None:
        """Press the dialog's button."""
        self.page.get_by_role("button", name="Launch").last.click()

    def open_graph(self) -> None:
        """Show the whole asset graph."""
        self.page.set_viewport_size({"width": 2200, "height": 1300})
        self.open("/assets/teacher_answers?view=lineage&lineageDepth=3", "deduped_questions")
        self.text("raw_sources").wait_for()
        self.page.wait_for_function("() => !document.body.innerText.includes('Loading')")

    def open_job(self, job: str) -> None:
        """Open the dialog in which partitions of a job are picked."""
        self.open(f"/locations/openthoughts/jobs/{job}", "Materialize")
        self.page.get_by_role("button", name="Materialize").first.click()
        self.text("Launch runs to materialize").wait_for()

    def open_file(self, path: Path, shows: str) -> list[str]:
        """Open a file and wait until it shows a text. Returns the addresses of all else that the page asked for."""
        asked: list[str] = []

        def note(request: Any) -> None:
            asked.append(str(request.url))

        self.page.on("request", note)
        self.page.goto(path.as_uri())
        self.text(shows).wait_for()
        self.page.remove_listener("request", note)
        return [address for address in asked if address != path.as_uri()]

    def picture(self, name: str, whole: bool = False) -> None:
        """Keep what the page shows, or the whole page, and go back to the usual size."""
        self.page.wait_for_timeout(500)  # animations
        self.page.screenshot(path=self._pictures / f"{name}.png", full_page=whole)
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


@contextmanager
def browser_at(address: str, pictures: Path) -> Iterator[Browser]:
    """A headless Chromium on the UI at `address`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(60_000)
        yield Browser(page, address, pictures)
        chromium.close()
