#!/bin/bash
# The frozen pass as a Slurm array, without Ray: each job computes the units of its shard, in any order, and a job that is
# preempted or requeued goes on where it was.
#   sbatch --export=ALL,CONFIG=/shared/my_images.yaml deploy/slurm-array.sh
# then, on any node: tlcli train --config /shared/my_images.yaml
# To run some jobs again, name them; there are still 64 shards, and what is done is skipped:
#   sbatch --array=3,7 --export=ALL,CONFIG=/shared/my_images.yaml deploy/slurm-array.sh
#SBATCH --job-name=tlcli-features
#SBATCH --array=1-64
#SBATCH --cpus-per-task=8
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

SHARDS=64  # the last number of --array above; not the number of jobs, which is another when some are run again
CONFIG="${CONFIG:-my_images}"
export TLCLI_CACHE="${TLCLI_CACHE:-/shared/tlcli-cache}"  # a folder that all nodes share, or s3://BUCKET/cache

tlcli features --config "$CONFIG" --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" --threads "${SLURM_CPUS_PER_TASK:-1}"
