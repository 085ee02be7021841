"""This machine: what its processor multiplies well, its memory, and where networks run."""
