"""Our figures against references and published ones, as signed errors that anyone can rerun."""
