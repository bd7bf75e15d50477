"""What came of runs, as one page of HTML."""
