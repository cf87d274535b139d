"""One Prefect task per step: one decorator, one library call."""
