"""Resumable downloads: the download itself, its partial file on disk, retries, and what failures mean."""
