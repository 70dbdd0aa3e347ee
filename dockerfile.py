"""What we add to the Dockerfile that BentoML writes for the image.

BentoML puts a RUN before each text that `Image.run` takes. Line breaks pass through, so a text can go on with other
instructions. The Dockerfile then reads, from top to bottom:

1. BentoML: base image, user `bentoml` and BENTO_PATH, in the stage `base-container`.
2. BUILD, which begins the stage `build`.
3. BentoML: uv, the environment /app/.venv, and PACKAGES in it.
4. FINISH, which begins the last stage and copies /app/.venv there.
5. BentoML: the Bento itself, EXPOSE, USER and ENTRYPOINT.
"""

import tomllib
from pathlib import Path

PYTHON = "3.11"
BASE = f"python:{PYTHON}-slim"

# Serving a Bento imports this module too, so pyproject.toml is in the Bento.
PROJECT = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]
PACKAGES: list[str] = PROJECT["dependencies"]
(METRICS,) = PROJECT["optional-dependencies"]["gpu"]
(RUNTIME,) = (package.partition("==")[2] for package in PACKAGES if package.startswith("onnxruntime-gpu=="))

# deploy/kubernetes names the user by number: Kubernetes cannot tell from a name that it is not root.
# Plain onnxruntime knows no CUDA. The extras of onnxruntime-gpu bring CUDA's libraries, and ours the metrics of GPUs.
# BentoML installs PACKAGES without the runtime, which depends on PROVIDER; FINISH installs it.
BUILD = f"""\
test "$(id -u bentoml):$(id -g bentoml)" = 1034:1034

FROM base-container AS build
ARG PROVIDER=cpu
RUN case "$PROVIDER" in \\
      cpu) echo 'onnxruntime=={RUNTIME}' ;; \\
      gpu) printf '%s\\n' 'onnxruntime-gpu[cuda,cudnn]=={RUNTIME}' '{METRICS}' ;; \\
      *) echo "PROVIDER must be cpu or gpu, got '$PROVIDER'; mend --opt build-arg=PROVIDER=" >&2; exit 1 ;; \\
    esac > /runtime.txt && echo onnxruntime-gpu > /exclude.txt
ENV UV_NO_BUILD=1 UV_CONSTRAINT=$BENTO_PATH/src/constraints.txt UV_EXCLUDE=/exclude.txt"""

READY = (
    "python3 -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=2)' "
    "http://127.0.0.1:${PORT:-3000}/readyz"
)
# BentoML starts no worker again in a container, which ends when none is left. Of two API processes, nobody would see
# that one has ended. So there is one, and more of them are more containers.
# A server needs no installer, no tests of packages and no downloader of models.
# Everything that a server writes lies under /tmp, so the root file system can be read-only.
# BentoML and ONNX Runtime send usage statistics by default.
FINISH = f"""\
env -u UV_EXCLUDE uv pip install --requirement /runtime.txt && \\
    uv pip uninstall hf-xet && \\
    find /app/.venv -type d -name tests -prune -exec rm -r {{}} +

FROM base-container
RUN pip uninstall --yes --root-user-action ignore wheel setuptools pip
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp BENTOML_HOME=/tmp/bentoml \\
    BENTOML_DO_NOT_TRACK=True ORT_DISABLE_TELEMETRY=1 SIEVE_WORKERS=1
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["sh", "-c", "{READY}"]
CMD ["serve"]"""
