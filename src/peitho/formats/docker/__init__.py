"""Docker's formats: frames, Dockerfiles, names, and the JSON that a daemon reads."""
