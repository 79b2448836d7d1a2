"""What operators type: ps, logs, images, builds, events, rm; here, in a Pod or on a laptop."""
