"""All Dagster definitions: assets, checks, partitions, jobs, schedules, sensors and resources."""
