"""One study from SOURCE to OUTPUT, without a command line."""
