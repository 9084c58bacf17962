"""The host half of the training engine: networks, quantization, memory plan, model image, reference."""
