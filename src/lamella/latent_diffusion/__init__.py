"""The latent diffusion model of the reference system: condition, weights, and how it thins a volume."""
