"""Prefect flows that read like sentences, and the `unetseg` command."""
