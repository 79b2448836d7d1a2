"""What runs inside Pods, in Peitho's own image: standard library only, quick to start."""
