"""Training of descriptors: losses, augmentation and the training loop."""
