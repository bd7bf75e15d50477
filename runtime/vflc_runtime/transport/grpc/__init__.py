"""Places on their own machines: one stream of frames a pair of places, over gRPC and mutual TLS."""
