#!/usr/bin/env bash
# What is wrong in a log file: MODEL=NAME ./logs.sh FILE. Needs curl and jq.
set -euo pipefail

file=${1:?usage: MODEL=NAME ./logs.sh FILE}
model=${MODEL:-llama3.2}
host=${OLLAMA_HOST:-http://localhost:11434}

# Lines that differ only in times, numbers and addresses are of one kind.
kinds=$(grep -E 'ERROR|WARN|CRITICAL' "$file" |
    sed -E 's/^[0-9T:.,-]+ *//; s/[0-9]+(\.[0-9]+)*/N/g' |
    sort | uniq -c | sort -k 1,1nr -k 2 | head -n 10) || { echo "no errors in $file"; exit 0; }
echo "$kinds"
echo

schema='{
  "type": "object",
  "required": ["findings"],
  "properties": {
    "findings": {
      "type": "array", "minItems": 1, "maxItems": 3,
      "items": {
        "type": "object",
        "required": ["severity", "problem", "advice"],
        "properties": {
          "severity": {"enum": ["low", "medium", "high"]},
          "problem": {"type": "string", "maxLength": 60},
          "advice": {"type": "string", "maxLength": 100}
        }
      }
    }
  }
}'
jq -n --arg model "$model" --arg kinds "$kinds" --argjson schema "$schema" '{
    model: $model, stream: false, think: false, format: $schema, options: {temperature: 0},
    messages: [{role: "user", content: "These lines, with their counts, are from a log. What is wrong?\n\n\($kinds)"}]
}' |
    curl --silent --show-error --fail-with-body "$host/api/chat" --data-binary @- |
    jq -r '.message.content | fromjson | .findings[] | [.severity, .problem, .advice] | @tsv'
