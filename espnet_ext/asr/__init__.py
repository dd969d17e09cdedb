"""Speech recognition: the multi-task model, its losses, and greedy decoding."""
