# docker build -t bench .  &&  docker run --rm -v "$PWD:/work" bench run --task agnews --backends gpt4 ...
# For local models: docker build --build-arg EXTRAS='[local]' -t bench .
FROM python:3.12-slim

ARG EXTRAS=""
WORKDIR /opt/bench
COPY . .
# The CPU build of torch: the default one brings CUDA along. On a GPU machine leave the index out.
RUN python -m pip install --no-cache-dir ".${EXTRAS}" --extra-index-url https://download.pytorch.org/whl/cpu

# Not root: what a run writes into a mounted folder belongs to the user who is named with --user.
RUN useradd --create-home bench
USER bench
ENV BENCH_HOME=/work/.bench
WORKDIR /work
ENTRYPOINT ["bench"]
CMD ["--help"]
