"""Queues of an instance and limits → the next batch: one class a policy, and their table."""

from npusim.serving.schedulers.chunked_prefill import ChunkedPrefill

SCHEDULERS = {
    "chunked_prefill": ChunkedPrefill,
}
