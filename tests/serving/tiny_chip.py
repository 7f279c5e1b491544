"""A chip of 2x4 cores and a model of a few MB, for serving tests that simulate."""

SMALL_MODEL = [
    "model.num_hidden_layers=4", "model.hidden_size=256", "model.intermediate_size=512",
    "model.vocab_size=2048", "model.num_attention_heads=8", "model.num_key_value_heads=2",
    "model.head_dim=32",
]  # fmt: skip


def chip_text(attach="core", *, capacity_gib=0.25, scratchpad_mib=1, link_bytes=32):
    """The chip's file. `attach`: how its memory is attached, with the keys that go with it."""
    return f"""\
name: tiny
mesh: {{rows: 2, columns: 4}}
core_groups:
  - name: main
    core:
      clock_mhz: 1000
      arrays: {{rows: 16, columns: 16}}
      vector: {{lanes: 16}}
      sfu: {{lanes: 4}}
      scratchpad: {{capacity_mib: {scratchpad_mib}}}
memories:
  - {{name: hbm, attach: {attach}, capacity_gib: {capacity_gib}, channels: 2,
     timing: {{channel_gb_s: 16, t_rcd_ns: 14, t_rp_ns: 14, t_cl_ns: 14, t_ras_ns: 33}}}}
noc: {{clock_mhz: 1000, link_bytes_per_cycle: {link_bytes}}}
"""
