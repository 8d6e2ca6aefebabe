"""What the arms of a study took: completions, tokens, money and time, of answers, judges, students and evaluations."""

from collections.abc import Mapping

import polars as pl

from openthoughts_dagster.generation.prices import cost_of, has_price
from openthoughts_dagster.lake import (
    ARM_ANSWERS,
    ARM_SCORES,
    ARM_STUDENTS,
    COMPLETIONS,
    REJECTED_ARM_ANSWERS,
    Lake,
)
from openthoughts_dagster.recipe import Recipe, Student
from openthoughts_dagster.recipe.studies import Study

ALL_ARMS = "all arms"
_ANSWER = ["key", "sample_index"]
_SPENT = ["completion_id", "completion_tokens", "engine_seconds", "cost", "currency", "asked_as"]
_SAMPLES = pl.List(pl.Struct({"completion_id": pl.String}))


def arm_costs(lake: Lake, recipe: Recipe, study: Study, version: str) -> pl.DataFrame:
    """Return what answers, judges, students and evaluations of each arm took, whoever paid for them first.

    Arms share completions and students. Each arm counts all of its own, and the last row counts every one once. Judges
    are those that answer filters ask; a reply counts for the arm that asked first. The answers of the student before
    training serve every asset and are not counted.

    Args:
        lake: The tables.
        recipe: The recipe, for its prices.
        study: The study.
        version: Hash of the version whose students are counted.

    Returns:
        The column arm; for answers, judges and evaluations (`judge_`, `evaluation_`) the columns completions (failed
        requests too), completion_tokens, engine_seconds and cost: a text with the currency, which says how many
        completions have no price; and students, training_seconds and training_cost.
    """
    keys = {f"{study.name}.{arm}": arm for arm in study.variants()}
    answers, judged = _answers(lake, list(keys)), _judged(lake, recipe, list(keys))
    scored, students = (
        lake.scan(table).filter(study=study.name, version=version) for table in (ARM_SCORES, ARM_STUDENTS)
    )
    evaluated, trained = _evaluated(lake, scored), students.select("arm_name", "fingerprint", "seconds").collect()
    rows = []
    for name, own in [*((arm, {key: arm}) for key, arm in keys.items()), (ALL_ARMS, keys)]:
        by_key, by_name = pl.col("arm").is_in(list(own)), pl.col("arm_name").is_in(list(own.values()))
        rows.append(
            {
                "arm": name,
                **_sum_up(answers.filter(by_key), recipe),
                **_sum_up(judged.filter(by_key), recipe, "judge_"),
                **_sum_up(evaluated.filter(by_name), recipe, "evaluation_"),
                **_sum_up_students(trained.filter(by_name), recipe.student),
            }
        )
    return pl.DataFrame(rows)


def format_completion_costs(costs: pl.DataFrame) -> list[dict[str, str]]:
    """Format what completions took.

    Args:
        costs: What `arm_costs` returns.

    Returns:
        A row of texts for each arm and what its completions were for: answers, judges and evaluations.
    """
    return [
        {
            "arm": row["arm"],
            "of": what,
            "completions": f"{row[f'{prefix}completions']:,}",
            "tokens": f"{row[f'{prefix}completion_tokens']:,}",
            "engine seconds": f"{row[f'{prefix}engine_seconds']:,.1f}",
            "cost": row[f"{prefix}cost"],
        }
        for row in costs.iter_rows(named=True)
        for what, prefix in (("answers", ""), ("judges", "judge_"), ("evaluations", "evaluation_"))
        if row[f"{prefix}completions"]
    ]


def format_training_costs(costs: pl.DataFrame) -> list[dict[str, str]]:
    """Format what trainings took.

    Args:
        costs: What `arm_costs` returns.

    Returns:
        A row of texts for each arm.
    """
    return [
        {
            "arm": row["arm"],
            "students": str(row["students"]),
            "training seconds": f"{row['training_seconds']:,.1f}",
            "cost": row["training_cost"],
        }
        for row in costs.iter_rows(named=True)
    ]


def _answers(lake: Lake, arms: list[str]) -> pl.DataFrame:
    """Return the completions of arms, kept or rejected."""
    kept, rejected = (
        lake.scan(table).filter(pl.col("arm").is_in(arms)) for table in (ARM_ANSWERS, REJECTED_ARM_ANSWERS)
    )
    asked = pl.concat([kept.select("arm", *_ANSWER), rejected.select("arm", *_ANSWER)]).unique().collect().lazy()
    models = kept.select(pl.col("model").unique()).collect()["model"]
    made = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models.implode())).select(*_ANSWER, *_SPENT)
    return asked.join(made, on=_ANSWER).collect()


def _judged(lake: Lake, recipe: Recipe, arms: list[str]) -> pl.DataFrame:
    """Return the replies of judges that the answer filters of arms asked for."""
    judges = [judge.name for judge in recipe.judges]
    asked = (pl.col("asset") == ARM_ANSWERS.name) & pl.col("source").is_in(arms) & pl.col("asked_as").is_in(judges)
    made = lake.scan(COMPLETIONS).filter(asked, pl.col("teacher") == "")
    return made.select(pl.col("source").alias("arm"), *_SPENT).collect()


def _evaluated(lake: Lake, scores: pl.LazyFrame) -> pl.DataFrame:
    """Return the answers to benchmarks behind scores. Scores of the first version do not name theirs."""
    named = scores.filter(pl.col("samples").is_not_null()).select(
        "arm_name", "model", pl.col("samples").str.json_decode(_SAMPLES).alias("sample")
    )
    asked = named.explode("sample").unnest("sample").collect()
    made = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(asked["model"].unique().implode())).select(_SPENT)
    return asked.lazy().select("arm_name", "completion_id").unique().join(made, on="completion_id").collect()


def _sum_up(completions: pl.DataFrame, recipe: Recipe, prefix: str = "") -> Mapping[str, object]:
    once = completions.unique("completion_id")
    return {
        f"{prefix}completions": once.height,
        f"{prefix}completion_tokens": int(once["completion_tokens"].cast(pl.Int64).sum()),
        f"{prefix}engine_seconds": float(once["engine_seconds"].fill_null(0.0).sum()),
        f"{prefix}cost": _format_money(once, recipe),
    }


def _format_money(completions: pl.DataFrame, recipe: Recipe) -> str:
    """Format what completions cost; a completion without a price is not one that cost nothing."""
    models = [model for model in (*recipe.teachers, *recipe.judges, recipe.student) if has_price(model)]
    free = [model.name for model in models if cost_of(model, 1.0, 1.0, 1.0) == 0]
    # A failed request has no tokens, and cost nothing where there is a price.
    empty = (pl.col("completion_tokens") == 0) & pl.col("asked_as").is_in([model.name for model in models])
    known = completions.filter((pl.col("cost") > 0) | pl.col("asked_as").is_in(free) | empty)
    money = known.group_by("currency").agg(pl.col("cost").sum()).sort("currency")
    sums = [f"{cost:,.2f} {currency}" for currency, cost in money.iter_rows()]
    unknown = completions.height - known.height
    if unknown and sums:
        sums.append(f"{unknown:,} completions without a price")
    return ", ".join(sums) or ("no price" if unknown else "nothing asked")


def _sum_up_students(students: pl.DataFrame, student: Student) -> Mapping[str, object]:
    trained = students.unique("fingerprint")
    seconds = float(trained["seconds"].fill_null(0.0).sum())
    price, machines = student.price, student.hardware.count * student.hardware.nodes
    cost = "no price"
    if "accelerator_hour" in price.model_fields_set and machines:
        cost = f"{seconds / 3600 * machines * price.accelerator_hour:,.2f} {price.currency}"
    return {"students": trained.height, "training_seconds": seconds, "training_cost": cost}
