"""What does the data look like? Pure functions: none awaits, none reads a clock."""
