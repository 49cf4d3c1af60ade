#!/bin/sh
# curl: the models, an answer, and one as it is written.
set -eu
URL=${OPENLLM_ENDPOINT:-http://localhost:3000}
KEY=${OPENLLM_API_KEY:-none}

curl -sS --fail-with-body "$URL/v1/models" -H "Authorization: Bearer $KEY"
echo

curl -sS --fail-with-body "$URL/v1/chat/completions" \
    -H "Authorization: Bearer $KEY" \
    -d '{"model": "demo", "messages": [{"role": "user", "content": "How do I build a Bento?"}]}'
echo

curl -sS --fail-with-body -N "$URL/v1/chat/completions" \
    -H "Authorization: Bearer $KEY" \
    -d '{"model": "demo", "stream": true,
         "messages": [{"role": "user", "content": "How do I build a Bento?"}]}'
