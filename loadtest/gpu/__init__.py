"""What a GPU does with BERT-base and ResNet-50: the session alone, PyTorch and TensorRT beside it, through HTTP."""
