#!/usr/bin/env bash
# One SGLang server for each GPU of this machine, all with the same base and adapter; their URLs go to servers.txt.
#   ADAPTER=.bench/adapters/ID examples/sglang/serve.sh
set -euo pipefail

BASE=${BASE:-meta-llama/Llama-3.2-1B-Instruct}
ADAPTER=${ADAPTER:?the folder of a trained adapter}
NAME=${NAME:-news}
GPUS=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
PORT=${PORT:-30000}
LIST=${LIST:-servers.txt}

stop() { kill $(jobs -p) 2>/dev/null || true; }
trap stop EXIT

: >"$LIST.new"
for ((gpu = 0; gpu < GPUS; gpu++)); do
  port=$((PORT + gpu))
  CUDA_VISIBLE_DEVICES=$gpu python -m sglang.launch_server --model-path "$BASE" --host 0.0.0.0 --port "$port" \
    --enable-lora --lora-paths "$NAME=$ADAPTER" --max-loras-per-batch 1 &
  echo "http://$(hostname):$port/v1" >>"$LIST.new"
done
mv "$LIST.new" "$LIST"
wait
