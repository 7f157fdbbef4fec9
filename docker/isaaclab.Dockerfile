# Isaac Lab with trudi_rsl in its Python. The build context is the checkout:
#   docker build -f docker/isaaclab.Dockerfile --build-arg ISAACLAB_IMAGE=<image:tag> -t trudi-isaaclab .
ARG ISAACLAB_IMAGE=nvcr.io/nvidia/isaac-lab:2.3.2
FROM ${ISAACLAB_IMAGE}

ARG ISAACLAB_PATH=/workspace/isaaclab
WORKDIR /opt/trudi_rsl
COPY . .
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# torch, RSL-RL and the simulator are the image's own: a package that replaced one of them would break it.
RUN "${ISAACLAB_PATH}/isaaclab.sh" -p -m pip freeze | grep -iE '^(torch|rsl-rl-lib|numpy)==' > /tmp/kept.txt \
    && "${ISAACLAB_PATH}/isaaclab.sh" -p -m pip install --no-cache-dir -c /tmp/kept.txt '.[export,eval]' \
    && rm /tmp/kept.txt

WORKDIR ${ISAACLAB_PATH}
ENTRYPOINT ["/bin/bash"]
