"""Draws into one tensor: dispatch, memory, shards, devices."""
