"""How long a thing takes alone, from plain numbers: cycles, bytes, α-β times, the roofline."""
