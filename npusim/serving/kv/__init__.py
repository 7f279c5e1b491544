"""KV memory of an instance: which blocks of scratchpad and memory each request holds."""
