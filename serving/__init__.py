"""What a running service needs, without torch and without BentoML.

numpy, ONNX Runtime, tokenizers and Pillow do the work; pydantic, Starlette, orjson, python-multipart and
prometheus_client, which BentoML brings or runs on, speak with the outside.
"""
