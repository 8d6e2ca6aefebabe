"""Prepares the folder of a version for the hub: its rows as they were made, with a card of the present."""

import shutil
from pathlib import Path

from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.card import FUNNEL_PLOT, draw_funnel, read_card_facts, write_card
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.gates import check_personal_data, find_gate_failures, require_version
from openthoughts_dagster.release.push_plan import ReleaseFolder
from openthoughts_dagster.release.readme import README, write_description
from openthoughts_dagster.release.record import RECORD, describe_changed_files, read_record
from openthoughts_dagster.storage import Folders


class GateError(ReleaseError):
    """Gates stop the release; the message has a line for each, with rows and remedy."""


def require_open_gates(lake: Lake, recipe: Recipe, teacher: str) -> None:
    """Check every gate that stops a release, in the tables as they are now.

    Raises:
        GateError: A gate fails.
        ReleaseError: The recipe has no release.
    """
    failed = find_gate_failures(lake, recipe, teacher)
    if failed:
        lines = "\n".join(f"- {result.describe()}" for result in failed)
        stop = "1 gate stops" if len(failed) == 1 else f"{len(failed)} gates stop"
        raise GateError(f"{release_of(recipe).name} of {teacher} cannot be pushed, {stop} it:\n{lines}")


def prepare_push(lake: Lake, recipe: Recipe, teacher: str, folders: Folders, scratch: Path) -> ReleaseFolder:
    """Fetch the version that was made last, and write its card again with what the tables have by now.

    The card of a version is written before its student is trained: scores and studies that came later are in this one,
    and the title and licence that the recipe has by now. Rows and manifest are the version's own.

    Args:
        lake: The tables.
        recipe: The recipe with its release.
        teacher: The release's partition.
        folders: Where the files of versions are.
        scratch: A folder for the card.

    Returns:
        The folder to push.

    Raises:
        ReleaseError: There is no version, or its files are not those that were made, so that gates, which look at the
            tables, would say nothing of them.
        StorageError: Its files cannot be fetched.
    """
    release, version = release_of(recipe), require_version(lake, recipe, teacher)
    path, record = folders.fetch(version["path"]), read_record(version["record"])
    if changed := describe_changed_files(path, record, (README, RECORD, FUNNEL_PLOT)):
        listed = ", ".join(changed[:5]) + (f" and {len(changed) - 5:,} more" if len(changed) > 5 else "")
        raise ReleaseError(
            f"{version['path']} is not as version {version['version']} was made: {listed}. Gates look at the tables, "
            "so no other files may leave: delete the folder, and materialize reasoning_dataset again"
        )
    record |= {"title": release.title, "licence": release.licence}  # the gates judged the rows by these
    facts = read_card_facts(
        lake,
        recipe,
        teacher,
        version["version"],
        version["made_at"],
        record["shortfalls"],
        record,
        check_personal_data(lake, recipe, teacher),
    )
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    write_description(scratch, recipe, facts.sources["source"].unique().sort().to_list(), record, write_card(facts))
    (scratch / FUNNEL_PLOT).write_text(draw_funnel(facts.funnel), encoding="utf-8")
    return ReleaseFolder(path, release.name, teacher, version["version"], newer=scratch)
