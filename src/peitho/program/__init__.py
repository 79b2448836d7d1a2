"""What runs, and from what it is made: `composition` makes the parts, `app` starts them."""
