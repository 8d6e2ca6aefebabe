"""What the daemon looks at."""
