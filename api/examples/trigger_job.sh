#!/usr/bin/env bash
# Starts a job, follows it, and prints the run with its result. The exit code is 0 when it succeeded.
#
#   export SHOPLAKE_API_KEY=$(shoplake keys create demo --scope jobs:run --scope jobs:read)
#   api/examples/trigger_job.sh cohort_retention '{"timezone": "Europe/Berlin"}'
set -euo pipefail

api=${SHOPLAKE_API_URL:-http://127.0.0.1:${SHOPLAKE_API_PORT:-8000}}
job=${1:?Which job? For example: $0 cohort_retention}
parameters=${2:-"{}"}
: "${SHOPLAKE_API_KEY:?Make a key with: shoplake keys create demo --scope jobs:run --scope jobs:read}"

call() { # the key comes from a file, so that the list of processes does not show it
  curl --silent --show-error --fail-with-body --noproxy 127.0.0.1,localhost \
    --header @<(printf 'Authorization: Bearer %s\n' "$SHOPLAKE_API_KEY") "$@"
}

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# With an Idempotency-Key the request may be repeated: it starts one run only.
accepted=$(call --retry 5 --header 'Content-Type: application/json' --header "Idempotency-Key: $(date +%s)-$$" \
  --data "{\"parameters\": $parameters}" "$api/v1/jobs/$job/runs") || { echo "$accepted" >&2; exit 1; }
run="$api/v1/runs/$(field id <<<"$accepted")"

until # the stream of events ends with the run; if it breaks, look and follow again
  call --no-buffer "$run/events" | sed -n 's/^data: //p' >&2
  told=$(call --retry 5 "$run") && state=$(field state <<<"$told")
  [[ $state =~ ^(succeeded|failed|cancelled|lost)$ ]]
do sleep 1; done

echo "$told"
[[ $state == succeeded ]]
