"""Where a data set comes from: one reader a kind of source."""
