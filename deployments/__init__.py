"""How unetseg is operated: what the Prefect server knows, and the commands that start, watch and stop it all."""
