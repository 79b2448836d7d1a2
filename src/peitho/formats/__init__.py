"""What does the data look like?  Pure functions: nothing awaits, nothing reads a clock."""
