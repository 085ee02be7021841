"""Files whatever they hold: results that appear whole or not at all, and settings from YAML."""
