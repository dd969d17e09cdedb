"""Running the shards of a stage: on this machine, later on a cluster."""
