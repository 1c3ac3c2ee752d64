"""Layers that prepare data: numbers, categories, strings, sounds and images."""
