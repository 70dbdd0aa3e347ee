"""Runs an ONNX file in MLServer. `python -m optimize export-triton --server mlserver` puts it beside the file.

It needs `mlserver` and `onnxruntime`, and nothing of Sieve. `extra` in model-settings.json names the artifact's digest
and variant, which the metadata of the model tell, the execution provider, and the shapes that run before the first
request.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse, Parameters
from mlserver.utils import get_model_uri

TYPES = {"tensor(int64)": np.int64, "tensor(float)": np.float32}


class OnnxModel(MLModel):  # type: ignore[misc]  # mlserver is not installed where types are checked
    """A model whose inputs and outputs are those of its graph."""

    async def load(self) -> bool:
        """Open the graph and run it with zeros of each shape."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        extra = self.settings.parameters.extra
        self._session = onnxruntime.InferenceSession(
            await get_model_uri(self.settings), options, providers=[extra["provider"], "CPUExecutionProvider"]
        )
        for shape in extra["warm_up"]:
            zeros = {each.name: np.zeros(shape, TYPES[each.type]) for each in self._session.get_inputs()}
            self._session.run(None, zeros)
        return True

    async def metadata(self) -> MetadataModelResponse:
        """What the settings say, and which artifact this is."""
        said = await super().metadata()
        extra = self.settings.parameters.extra
        said.parameters = Parameters(digest=extra["digest"], variant=extra["variant"])
        return said

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """All outputs of the graph for the inputs of a request."""
        inputs = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        names = [each.name for each in self._session.get_outputs()]
        outputs = [
            NumpyCodec.encode_output(name, array)
            for name, array in zip(names, self._session.run(names, inputs), strict=True)
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
