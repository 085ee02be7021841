"""Many series: one case after the other with one model, each result whole, every end recorded."""
