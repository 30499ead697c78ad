"""The widget "Threshold MIoU": how well bright areas of a real and of predicted images overlap at any threshold."""
