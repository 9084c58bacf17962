"""Networks that have learned something before they meet a board: trained in PyTorch, committed as quantized ONNX."""
