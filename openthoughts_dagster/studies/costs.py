"""What the arms of a study took: completions, tokens, money and training time."""

from collections.abc import Mapping

import polars as pl

from openthoughts_dagster.lake import ARM_ANSWERS, ARM_STUDENTS, COMPLETIONS, REJECTED_ARM_ANSWERS, Lake
from openthoughts_dagster.recipe.studies import Study

ALL_ARMS = "all arms"
_ANSWER = ["key", "sample_index"]


def arm_costs(lake: Lake, study: Study, version: str) -> pl.DataFrame:
    """Return what the answers and the students of each arm took, whoever paid for them first.

    Arms share completions and students. Each arm counts all of its own, and the last row counts every one once. The
    evaluation of students is not in it.

    Args:
        lake: The tables.
        study: The study.
        version: Hash of the version whose students are counted.

    Returns:
        The columns arm, completions (failed requests too), completion_tokens, engine_seconds, cost (a text with the
        currency; "no price" where nothing was priced), students and training_seconds.
    """
    keys = {f"{study.name}.{arm}": arm for arm in study.variants()}
    kept, rejected = (
        lake.scan(table).filter(pl.col("arm").is_in(list(keys))) for table in (ARM_ANSWERS, REJECTED_ARM_ANSWERS)
    )
    asked = pl.concat([kept.select("arm", *_ANSWER), rejected.select("arm", *_ANSWER)]).unique().collect().lazy()
    models = kept.select(pl.col("model").unique()).collect()["model"]
    made = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models.implode()))
    priced = made.select(*_ANSWER, "completion_id", "completion_tokens", "engine_seconds", "cost", "currency")
    rows = asked.join(priced, on=_ANSWER).collect()
    students = lake.scan(ARM_STUDENTS).filter(study=study.name, version=version)
    trained = students.select("arm_name", "fingerprint", "seconds").collect()
    each = [{"arm": name, **_sum_up(rows.filter(arm=key), trained.filter(arm_name=name))} for key, name in keys.items()]
    return pl.DataFrame([*each, {"arm": ALL_ARMS, **_sum_up(rows, trained)}])


def _sum_up(completions: pl.DataFrame, students: pl.DataFrame) -> Mapping[str, object]:
    once, trained = completions.unique("completion_id"), students.unique("fingerprint")
    money = once.filter(pl.col("cost") > 0).group_by("currency").agg(pl.col("cost").sum()).sort("currency")
    return {
        "completions": once.height,
        "completion_tokens": int(once["completion_tokens"].cast(pl.Int64).sum()),
        "engine_seconds": float(once["engine_seconds"].fill_null(0.0).sum()),
        "cost": ", ".join(f"{cost:,.2f} {currency}" for currency, cost in money.iter_rows()) or "no price",
        "students": trained.height,
        "training_seconds": float(trained["seconds"].fill_null(0.0).sum()),
    }
