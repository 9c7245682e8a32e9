"""Whole models: what fills every tensor of one."""
