"""Running the shards of a stage: on this machine, or on a cluster with Slurm."""
