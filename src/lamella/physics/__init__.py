"""The physics along z: a thick slice is a profile-weighted average of thin ones."""
