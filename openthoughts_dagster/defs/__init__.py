"""Everything Dagster: assets, checks, partitions, resources, and the demo that runs them."""
