"""What a running service needs: standard library, numpy, ONNX Runtime, tokenizers and Pillow; no torch, no BentoML."""
