"""From a subset to batches on the device: order, pictures, texts."""
