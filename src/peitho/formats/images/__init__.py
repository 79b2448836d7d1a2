"""Images: the record of a chaincode image, its layer, references, and OCI manifests."""
