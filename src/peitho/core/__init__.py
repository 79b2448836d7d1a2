"""What do we do about it?  Containers, builds and images; knows no HTTP."""
