"""``make bench-peers``: the same weights, run by unetseg and by others, in an environment that has those."""
