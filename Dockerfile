# Train and convert in one image:
#
#     docker build --tag micro-yolo .
#     docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" micro-yolo train --data photos --run runs/mine
#     docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" micro-yolo convert --run runs/mine --int8
#
# The packages are those of requirements.lock, by their hashes: what the tests ran with.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
RUN python -m venv /opt/micro-yolo
# Changes of the code alone leave this layer, the largest, as it is.
COPY requirements.lock ./
RUN /opt/micro-yolo/bin/pip install --no-deps --require-hashes --requirement requirements.lock
COPY . .
RUN /opt/micro-yolo/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
# OpenCV's libraries, for videos.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/micro-yolo /opt/micro-yolo
# HOME: whoever --user names may have none, and some libraries keep files there.
ENV PATH=/opt/micro-yolo/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 micro
USER 1000
WORKDIR /work
ENTRYPOINT ["micro-yolo"]
CMD ["--help"]
