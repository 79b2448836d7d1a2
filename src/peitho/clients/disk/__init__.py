"""The data directory: blobs, image records, kept builds, files in flight."""
