"""The graph of an asset that asks a model: a plan, shards that ask for missing answers, and the table of all answers.

Every asset of answers is made here: `teacher_answers` of the cells, and `arm_answers` of studies.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.answers import AnswerSet, Published, answer_shard, plan_answers, publish_answers
from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import draw_histogram, sample_rows, show_cost, show_counts, show_estimate, table
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.retry_tag import retry_refused_before
from openthoughts_dagster.defs.step_outputs import STEP_OUTPUTS
from openthoughts_dagster.defs.steps import MODEL_RETRIES, resumable, runs_a_model
from openthoughts_dagster.defs.waiting import wait_for_person
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.estimate import CostEstimate
from openthoughts_dagster.generation.ledger import count_served_models
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.usage import sum_usage_since
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import AnswerFilter, ModelReference, Recipe, Student


@dataclass(frozen=True)
class AnswerRequest:
    """The answers that one partition of an asset asks for.

    Args:
        model: The model that answers.
        answers: The questions, how often each is asked, and where the answers go.
        keep: Which answers are used.
        missing_allowed: The share of the answers that may be missing, from 0 to 1.
        length_score: The score that predicts how long answers will be; None when there is none.
        price_limit: The most money that the missing answers may cost; None for no limit.
        student: The student that filters compare answers with; that of the recipe when None.
    """

    model: ModelReference
    answers: AnswerSet
    keep: AnswerFilter
    missing_allowed: float
    length_score: str | None = None
    price_limit: float | None = None
    student: Student | None = None


def answer_graph(
    entry: AssetEntry,
    recipe: Recipe,
    description: str,
    request_of: Callable[[Lake, str], AnswerRequest],
    prepare: Callable[[Lake, str], None] = lambda lake, key: None,
    finish: Callable[[Lake, str], None] = lambda lake, key: None,
) -> dg.AssetsDefinition:
    """Make an asset of answers.

    Args:
        entry: The entry of the asset in the catalogue.
        recipe: The recipe.
        description: The text on the asset's page.
        request_of: Returns the answers that a partition asks for, from the lake and the partition's key.
        prepare: Is called before a partition is planned, for example to choose its questions.
        finish: Is called when the answers of a partition are published.
    """
    name = entry.name

    @dg.op(
        name=f"{name}_plan",
        ins={"after": dg.In(dg.Nothing)},
        out={
            "planned": dg.Out(dict, io_manager_key=STEP_OUTPUTS),
            "shards": dg.DynamicOut(int, io_manager_key=STEP_OUTPUTS),
        },
    )
    @resumable
    def plan(context: dg.OpExecutionContext, lake: LakeResource, models: ModelsResource) -> Iterator[Any]:
        """Find out which answers are missing, what they would cost, and how many shards ask for them."""
        tables = lake.open()
        prepare(tables, context.partition_key)
        asked = request_of(tables, context.partition_key)
        model, before = models.locate(asked.model, weights=False), retry_refused_before(context)
        planned = plan_answers(tables, model, asked.answers, asked.length_score, before)
        wait_for_person(context, asked.model.name, planned)
        asked.answers.replace(tables, asked.answers.plans, planned.rows)
        context.log.info(f"{asked.model.name}: {planned.estimate.says()}")
        check_price(asked, planned.estimate)
        summary = {
            "at": planned.planned_at.isoformat(),
            "reused": planned.estimate.reused,
            "questions": planned.rows.height,
            "shards": planned.shards,
        }
        yield dg.Output(summary, "planned", metadata=show_estimate(planned.estimate))
        for shard in range(planned.shards):
            yield dg.DynamicOutput(shard, mapping_key=str(shard), output_name="shards")

    @dg.op(
        name=f"{name}_answer",
        out=dg.Out(int, io_manager_key=STEP_OUTPUTS),
        retry_policy=MODEL_RETRIES,
        tags=runs_a_model("teacher"),
    )
    @resumable
    def answer(context: dg.OpExecutionContext, lake: LakeResource, models: ModelsResource, shard: int) -> int:
        """Generate the completions of one shard with one engine, and commit them while they come in."""
        tables = lake.open()
        asked = request_of(tables, context.partition_key)
        model = models.locate(asked.model)
        before, log = retry_refused_before(context), context.log.info
        return answer_shard(tables, models.pool, model, asked.answers, shard, log, before).generated

    @dg.op(name=f"{name}_publish")
    @resumable
    def publish(
        context: dg.OpExecutionContext,
        lake: LakeResource,
        models: ModelsResource,
        planned: dict[str, Any],
        generated: list[int],
    ) -> dg.Output[None]:
        """Write the partition from the ledger. The step fails when too many answers are missing, and names them."""
        tables = lake.open()
        asked = request_of(tables, context.partition_key)
        model = models.locate(asked.model, weights=False)
        purpose = Purpose(asked.answers.asset, asked.answers.label)
        before, log = retry_refused_before(context), context.log.info
        tools = models.filter_tools(tables, recipe, purpose, log, asked.student, before)
        published = publish_answers(tables, model, asked.answers, asked.keep, asked.missing_allowed, tools)
        finish(tables, context.partition_key)
        context.log.info(f"{asked.model.name}: {published.answers.height:,} answers to {asked.answers.label} published")
        served = count_served_models(tables, model.identity.partition, published.answers["completion_id"])
        if served.height > 1:
            names = ", ".join(f"{name} ({count:,})" for name, count in served.iter_rows())
            context.log.warning(f"{asked.model.name}: its server answered as {served.height} models: {names}")
        return dg.Output(
            None,
            data_version=dg.DataVersion(published.data_version),
            metadata=_metadata(tables, asked, planned, published)
            | ({"served_models": table(served)} if len(served) else {}),
        )

    # Data versions of a graph's outputs are in beta in Dagster 1.13; a change there shows in the tests.
    warnings.filterwarnings("ignore", message=".*`data_version` of initializer `Output.__init__`.*")

    @dg.graph_asset(
        name=name,
        description=description,
        partitions_def=entry.partitions.definition(recipe),
        ins={
            dep.asset_key.to_python_identifier(): dg.AssetIn(
                dep.asset_key, dagster_type=dg.Nothing, partition_mapping=dep.partition_mapping
            )
            for dep in entry.dependencies(recipe)
        },
    )
    def answers(**after: Any) -> Any:
        planned, shards = plan.alias("plan")(after=list(after.values()))
        return publish.alias("publish")(planned, shards.map(answer.alias("answer")).collect())

    return answers


def check_price(asked: AnswerRequest, estimate: CostEstimate) -> None:
    """Check that the missing answers may cost no more than the limit.

    Raises:
        EngineError: They cost more, or their cost is unknown.
    """
    if asked.price_limit is None or not estimate.completions:
        return
    if estimate.cost is None:
        raise EngineError(
            f"{asked.answers.label}: its price is unknown and it has a limit of {asked.price_limit:g}: give the "
            f"teacher {asked.model.name} a price and expected.tokens_per_second, or remove price_limit"
        )
    if estimate.cost > asked.price_limit:
        raise EngineError(
            f"{asked.answers.label}: the missing answers cost about {estimate.cost:,.2f} {estimate.currency}, and "
            f"{asked.price_limit:,.2f} are left of the limit: raise price_limit, or ask for fewer answers"
        )


def _metadata(lake: Lake, asked: AnswerRequest, planned: Mapping[str, Any], published: Published) -> dict[str, Any]:
    """Make the metadata of a partition: counts, lengths, cost, and a few answers."""
    start = datetime.fromisoformat(planned["at"])
    spent = sum_usage_since(lake, start, asked.answers.asset, asked.answers.label, asked.model.name)
    spent.reused = planned["reused"]
    return {
        "questions_in": planned["questions"],
        "answers_per_question": asked.answers.samples,
        "shards": planned["shards"],
        "dagster/row_count": published.answers.height,
        "answers_rejected": published.rejected.height,
        "rejected_by_reason": show_counts(published.rejected, "reason"),
        "truncated_answers": published.truncated,
        "tokens_per_answer": draw_histogram(published.lengths.to_list(), "Tokens per answer"),
        **show_cost(spent),
        "sample": sample_rows(_few_answers(lake, published)),
        "seconds": round(time.time() - start.timestamp(), 1),
    }


def _few_answers(lake: Lake, published: Published) -> pl.DataFrame:
    few = published.answers.head(5)
    found = lake.scan(COMPLETIONS, model=few["model"].item(0)).join(
        few.lazy().select("completion_id"), on="completion_id", how="semi"
    )
    return found.select("prompt", "reasoning", "answer").collect()
