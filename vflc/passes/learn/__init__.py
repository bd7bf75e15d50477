"""Who may learn what: an upper bound for every receiver and column of others, against grants and limits."""
