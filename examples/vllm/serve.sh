#!/usr/bin/env bash
# One vLLM server for each GPU of this machine, all with the same base and adapter; their URLs go to servers.txt.
#   ADAPTER=.bench/adapters/ID examples/vllm/serve.sh
set -euo pipefail

BASE=${BASE:-meta-llama/Llama-3.2-1B-Instruct}
ADAPTER=${ADAPTER:?the folder of a trained adapter}
NAME=${NAME:-news}
RANK=${RANK:-16} # at least the adapter's r: one of 1, 8, 16, 32, 64, 128, 256, 320, 512
GPUS=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
PORT=${PORT:-8000}
LIST=${LIST:-servers.txt}

stop() { kill $(jobs -p) 2>/dev/null || true; }
trap stop EXIT

: >"$LIST.new"
for ((gpu = 0; gpu < GPUS; gpu++)); do
  port=$((PORT + gpu))
  CUDA_VISIBLE_DEVICES=$gpu vllm serve "$BASE" --port "$port" --max-model-len 2048 --enable-prefix-caching \
    --enable-lora --max-loras 1 --max-lora-rank "$RANK" --lora-modules "$NAME=$ADAPTER" &
  echo "http://$(hostname):$port/v1" >>"$LIST.new"
done
mv "$LIST.new" "$LIST" # whole at once: a run that is going on reads it again
wait
