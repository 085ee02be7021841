"""The answer for one volume, whatever the model. Its settings are imported without torch."""
