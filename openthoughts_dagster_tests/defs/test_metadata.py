"""Numbers that people read are rounded and have units; what checks read back is exact."""

import dagster as dg
import polars as pl
import pytest

from openthoughts_dagster.cli.tables import table as text_table
from openthoughts_dagster.defs.leaderboard import NOTHING_COMMON, leaderboard_rows
from openthoughts_dagster.defs.metadata import recorded_steps, show_counts, show_steps, table
from openthoughts_dagster.evaluation.statistics import errors_over


def _records(value: dg.MetadataValue) -> list[dict[str, object]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def test_a_table_rounds_its_numbers_and_shows_their_units() -> None:
    rows = pl.DataFrame(
        {"share": [0.01807212657088174], "time": [16.7431], "loss": [0.123456], "count": [1234567], "none": [None]}
    )
    shown = {"share": "1.8%", "time": "16.7 s", "loss": 0.1235, "count": 1234567, "none": ""}
    assert _records(table(rows, {"share": "%", "time": "s"})) == [shown]


@pytest.mark.parametrize("values", [{"a": 1, "b": 2}, pl.DataFrame({"reason": ["b", "a", "b"]})])
def test_counts_of_a_mapping_and_of_rows_are_one_table(values: dict[str, int] | pl.DataFrame) -> None:
    assert _records(show_counts(values, "reason")) == [{"reason": "b", "count": 2}, {"reason": "a", "count": 1}]


def test_steps_are_read_back_also_from_what_earlier_versions_recorded() -> None:
    left = {"scored": 50, "selected": 45, "deduplicated": 45}
    shown = show_steps(left)
    assert [row["removed"] for row in _records(shown)] == [0, 5, 0]
    assert recorded_steps(shown) == recorded_steps([list(pair) for pair in left.items()]) == left
    assert recorded_steps(None) == {}


def test_a_leaderboard_fits_a_page_and_says_what_could_not_be_compared() -> None:
    numbers = {"score": 0.372, "standard_error": 0.0181, "gain_over_untrained": 0.372}
    lead = {"difference_to_next": 0.3251, "difference_standard_error": 0.021, "p_value": 0.00001, "seeds": 1}
    ranking = pl.DataFrame(
        [
            {"rank": 1, "source": "sums", **numbers, **lead},
            {"rank": 2, "source": "words", **numbers, **dict.fromkeys(lead)},
            {"rank": None, "source": "apart", **dict.fromkeys(numbers), **dict.fromkeys(lead)},
        ]
    )
    rows = leaderboard_rows(ranking, "source")
    assert rows["next below"].to_list() == ["+32.5% ± 2.1%", None, NOTHING_COMMON]
    assert rows["p"].to_list() == ["< 0.0001", None, None]
    assert errors_over(3) == "over items and 3 seeds"
    lines = text_table(rows.to_dicts()).splitlines()
    assert lines[1].split()[:5] == ["1", "sums", "37.2%", "1.8%", "0.0%"]
    assert max(map(len, lines)) <= 120
