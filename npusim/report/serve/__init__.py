"""What serving found → metrics, files, summary, timeline and plots."""
