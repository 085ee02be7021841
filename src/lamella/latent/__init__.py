"""Image block <-> latent block."""
