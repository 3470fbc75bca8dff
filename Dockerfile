# Images of the service and the offline jobs; docs/containers.md explains how to build and run them.
#   docker build --target cpu .      the service on the CPU with ONNX Runtime, without TensorFlow
#   docker build --target batch .    the same with batch scoring of files
#   docker build --target train .    training with TensorFlow on the CPU
#   docker build .                   the service on a GPU, or on the CPU if there is none
# The order of the stages avoids unnecessary work with builders that build all stages before the target.
ARG PYTHON=3.11-slim-bookworm

# pip is mounted while it is used, so that no image contains it. The second stage is for podman 4.3, which mounts an empty
# folder if the last step of a stage is a RUN from its cache.
FROM python:${PYTHON} AS tools
RUN mkdir /tools && cp -r "$(python -c 'import pip; print(*pip.__path__)')" /tools/
FROM scratch AS pip
COPY --from=tools /tools /tools

# Models and code are readable by all users, even if the checkout is not.
FROM python:${PYTHON} AS models
COPY models /models
RUN chmod -R a+rX /models

FROM python:${PYTHON} AS code
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/build.txt .
RUN python -m venv /venv && /venv/bin/python -m pip install --quiet --require-hashes --no-deps -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY churn churn
COPY records records
COPY batch batch
COPY service service
COPY training training
COPY cli cli
RUN /venv/bin/python -m pip install --quiet --no-index --no-deps --no-build-isolation --no-compile --target /app . \
 && sed -i '1s|.*|#!/opt/churn/bin/python|' /app/bin/churn \
 && python -m compileall -q --invalidation-mode unchecked-hash /app \
 && chmod -R a+rX /app

FROM python:${PYTHON} AS runtime
# The image has no installer. The environment imports the code from /app, which changes more often than the packages.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel \
 && rm -rf "$(python -c 'import ensurepip; print(*ensurepip.__path__)')" /usr/share/python-wheels /usr/local/bin/pip* \
 && groupadd --gid 10001 churn \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin churn \
 && install -d /app && install -d -o churn -g churn /data /records \
 && python -m venv --without-pip /opt/churn \
 && /opt/churn/bin/python -c "import pathlib, site; pathlib.Path(site.getsitepackages()[0], 'app.pth').write_text('/app\n')"
# The root file system may be read-only: bytecode is in the image, and libraries write caches to /tmp.
ENV PATH=/opt/churn/bin:/app/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CHURN_MODELS=/models
WORKDIR /app
USER 10001:10001
ENTRYPOINT ["churn"]

FROM runtime AS serving
EXPOSE 8000
# Drain (1 s), shutdown and the end of the processes, up to 2 s on a busy machine, take less than the 10 s that `docker stop` waits.
# /tmp is in memory as a rule: responses held there would save none, and a full /tmp ends the workers, whose metrics
# are files that they have mapped.
ENV CHURN_SHUTDOWN_SECONDS=6 \
    CHURN_MAX_SPILLED_BYTES=0
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=2m --retries=3 CMD ["python", "-I", "-S", "/app/service/probe.py"]
# On this address it does not start without CHURN_API_KEYS, CHURN_JWKS or CHURN_AUTH=none (docs/authentication.md).
CMD ["serve", "--host", "0.0.0.0"]

FROM serving AS cpu
USER 0:0
COPY --chmod=755 deploy/images/install-packages /opt/churn/
COPY requirements/serve.txt /opt/churn/requirements.txt
RUN --mount=type=bind,from=pip,source=/tools,target=/mnt --mount=type=cache,target=/root/.cache/pip \
    /opt/churn/install-packages /opt/churn/requirements.txt
USER 10001:10001
COPY --from=models /models /models
COPY --from=code /app /app
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="churn: service on the CPU" \
      org.opencontainers.image.description="Serves the probability that a bank customer leaves over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Python as process 1 would ignore SIGTERM; on SIGINT a job ends without partial results.
FROM runtime AS batch
STOPSIGNAL SIGINT
USER 0:0
COPY --chmod=755 deploy/images/install-packages /opt/churn/
COPY requirements/batch.txt /opt/churn/requirements.txt
RUN --mount=type=bind,from=pip,source=/tools,target=/mnt --mount=type=cache,target=/root/.cache/pip \
    /opt/churn/install-packages /opt/churn/requirements.txt with-clouds
USER 10001:10001
COPY --from=models /models /models
COPY --from=code /app /app
WORKDIR /data
CMD ["score", "--help"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="churn: batch scoring" \
      org.opencontainers.image.description="Scores files of bank customers with their probability of leaving" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM runtime AS train
STOPSIGNAL SIGINT
USER 0:0
COPY --chmod=755 deploy/images/install-packages /opt/churn/
COPY requirements/train.txt /opt/churn/requirements.txt
RUN --mount=type=bind,from=pip,source=/tools,target=/mnt --mount=type=cache,target=/root/.cache/pip \
    /opt/churn/install-packages /opt/churn/requirements.txt
USER 10001:10001
COPY --from=code /app /app
WORKDIR /data
CMD ["train", "--help"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="churn: training" \
      org.opencontainers.image.description="Trains the model of the probability that a bank customer leaves" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM serving AS gpu
# NVIDIA_VISIBLE_DEVICES is set by whoever starts the container: "all" here would use every GPU of a shared node.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 0:0
COPY --chmod=755 deploy/images/install-packages /opt/churn/
COPY requirements/gpu.txt /opt/churn/requirements.txt
RUN --mount=type=bind,from=pip,source=/tools,target=/mnt --mount=type=cache,target=/root/.cache/pip \
    /opt/churn/install-packages /opt/churn/requirements.txt
USER 10001:10001
COPY --from=models /models /models
COPY --from=code /app /app
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="churn: service on a GPU" \
      org.opencontainers.image.description="Serves the probability that a bank customer leaves over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
