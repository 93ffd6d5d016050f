"""The frozen pass on a cluster: Ray runs units of it in actors, an engine each."""
