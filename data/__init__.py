"""Preparing data: the demo set and the public benchmarks; code only, no images."""
