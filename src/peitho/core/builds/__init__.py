"""Build containers (created without a name), and the builds that they stand for."""
