"""The sweeper: which objects and files are removed, and when."""
