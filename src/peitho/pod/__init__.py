"""What runs in Pods, in Peitho's own image: with the standard library alone, to start fast."""
