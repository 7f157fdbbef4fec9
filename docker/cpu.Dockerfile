# Training on Gymnasium's MuJoCo without a GPU. The build context is the checkout:
#   docker build -f docker/cpu.Dockerfile -t trudi-cpu .
FROM python:3.11-slim

# An index with a CPU build of torch makes the image several GB smaller.
ARG TORCH_INDEX=
WORKDIR /opt/trudi_rsl
COPY constraints.txt .
RUN pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch
COPY . .
RUN pip install --no-cache-dir -c constraints.txt '.[all]'

# Runs are written below the working directory: mount a folder there to keep them.
WORKDIR /runs
ENTRYPOINT ["trudi", "train"]
CMD ["--task", "HalfCheetah-v5", "--algo", "trudi", "--device", "cpu"]
