"""What runs and from what it is made: `app` starts and ends it, `composition` puts it together."""
