"""What may be wrong with a set-up: each check is a function that tells lines, ok or not."""
