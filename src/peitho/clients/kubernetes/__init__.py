"""The Kubernetes API: requests, and the watch of our Pods."""
