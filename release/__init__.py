"""What `make release` makes: a wheel, the image's layer, SBOMs, sums, a signature, notes."""
