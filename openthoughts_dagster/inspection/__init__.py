"""What people look up in the tables: answers to benchmarks, where a row comes from, prices, and the report."""
