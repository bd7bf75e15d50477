"""Pictures of a partitioned graph: a lane a party, blocks that fold, what crosses and what it tells."""
