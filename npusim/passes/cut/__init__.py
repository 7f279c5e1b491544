"""Operators → what each rank of a tensor-parallel group does of them, and what it exchanges."""
