"""The models in the package and in folders: the registry of their kinds."""
