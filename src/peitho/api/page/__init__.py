"""The status page: what Peitho does, for people, read-only, on the operations listener."""
