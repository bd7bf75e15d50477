"""Who may learn what: an upper bound for every receiver and every column of others."""
