"""How do we say it to the outside?  The Kubernetes API and the disk."""
