"""Studies and series below sources, and the rules that decide which of them are thinned."""
