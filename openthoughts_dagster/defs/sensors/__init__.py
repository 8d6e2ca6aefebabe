"""The sensors, which Dagster's daemon evaluates."""
