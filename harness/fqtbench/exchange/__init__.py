"""Networks from and for other programs: float ONNX in, quantized ONNX and NPZ out."""
