"""NIfTI files <-> `Volume`."""
