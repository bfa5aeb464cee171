"""Training: the bundled CLIP, APRIL-GAN's projections, AnomalyCLIP's prompts."""
