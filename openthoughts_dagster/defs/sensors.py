"""Sensors: what the daemon looks at."""

import dagster as dg

from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.recipe import Recipe


def recipe_sources_sensor(recipe: Recipe) -> dg.SensorDefinition:
    """The sensor that makes every source of the recipe a partition; it starts no run."""

    @dg.sensor(name="recipe_sources", minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
    def recipe_sources(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """Adds the recipe's new sources as partitions. Sources that left the recipe keep theirs: data stays."""
        known = set(context.instance.get_dynamic_partitions(str(sources.name)))
        new = [source.name for source in recipe.sources if source.name not in known]
        if not new:
            return dg.SkipReason("every source of the recipe is a partition")
        return dg.SensorResult(dynamic_partitions_requests=[sources.build_add_request(new)])

    return recipe_sources
