"""What everything stands on: files, processors, the cache, lazily imported libraries."""
