"""Readers of what comes from outside, fed for a while with what coverage leads to."""
