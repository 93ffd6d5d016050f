"""Archives that may be hostile: what zips and tars hold, and how they are unpacked."""
