"""The packet-level NoC against a flit-level wormhole simulator."""
