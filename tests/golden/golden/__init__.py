"""Makes the golden files: what PyTorch, ONNX, SciPy, scikit-learn and networkx compute for requests to attnd."""
