"""Kernels, iterations and whole runs of LLMs against measurements on real chips."""
