"""Training: APRIL-GAN's projections, AnomalyCLIP's prompts."""
