"""The benchmarks of the OpenThoughts3 paper: one module for each family, and where their rows come from."""
