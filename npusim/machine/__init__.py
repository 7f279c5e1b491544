"""Program and chip → the tables the engines run on, and their times back in ps as a Trace."""
